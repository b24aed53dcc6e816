// Vectors of kQuads lanes, for the loops that GCC vectorises badly: of a selection between an old
// value and a new one it makes a masked store, and the next load waits for that.
#pragma once

#include "../kernels.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kQuads * sizeof(T)), aligned(sizeof(T))));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
using Mask = Vector<BitsOf<T>>;  // all bits of a lane, or none

template <class T>
TS_HD Vector<T>& vector_at(T* p) {
  return *reinterpret_cast<Vector<T>*>(p);
}
template <class T>
TS_HD const Vector<T>& vector_at(const T* p) {
  return *reinterpret_cast<const Vector<T>*>(p);
}

// x in all lanes.
template <class T>
TS_HD Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

// x where the mask is set, else 0.
template <class T>
TS_HD Vector<T> where(const Mask<T>& mask, const Vector<T>& x) {
  return (Vector<T>)(mask & (Mask<T>)x);
}

// Eight vectors of eight lanes: what was lane t of vector c becomes lane c of vector t.
template <class T>
TS_HD void transpose(Vector<T> (&v)[8]) {
  static_assert(kQuads == 8);
  using M = Mask<T>;
  constexpr M pairs_low{0, 8, 1, 9, 4, 12, 5, 13}, pairs_high{2, 10, 3, 11, 6, 14, 7, 15};
  constexpr M fours_low{0, 1, 8, 9, 4, 5, 12, 13}, fours_high{2, 3, 10, 11, 6, 7, 14, 15};
  constexpr M low{0, 1, 2, 3, 8, 9, 10, 11}, high{4, 5, 6, 7, 12, 13, 14, 15};
  const auto exchange = [&](int i, int j, const M& first, const M& second)
                            __attribute__((always_inline)) {
    const Vector<T> a = v[i], b = v[j];
#if defined(__clang__)
    for (int l = 0; l < 8; ++l) {
      v[i][l] = first[l] < 8 ? a[first[l]] : b[first[l] - 8];
      v[j][l] = second[l] < 8 ? a[second[l]] : b[second[l] - 8];
    }
#else
    v[i] = __builtin_shuffle(a, b, first);
    v[j] = __builtin_shuffle(a, b, second);
#endif
  };
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 2) exchange(i, i + 1, pairs_low, pairs_high);
  // Now vector i has lanes 0 and 1 (or 2 and 3) of its pair, and those plus 4.
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    exchange(i, i + 2, fours_low, fours_high);
    exchange(i + 1, i + 3, fours_low, fours_high);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) exchange(i, i + 4, low, high);
  // Lanes 1 and 2 of the halves have changed places.
  const auto swap = [&](int i, int j) __attribute__((always_inline)) {
    const Vector<T> a = v[i];
    v[i] = v[j];
    v[j] = a;
  };
  swap(1, 2);
  swap(5, 6);
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
