#pragma once

#include "../../core/algorithms/order_statistics.h"
#include "vector.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// The width of a register, so that a vector of nodes is one.
#if defined(TORCHSMOOTH_AVX512)
constexpr int kRegisterBytes = 64;
#elif defined(TORCHSMOOTH_AVX2)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif

inline constexpr NodeTable kNodeTable;

template <class T>
struct VectorLanes {
  using Value = T;
  typedef T V __attribute__((vector_size(kRegisterBytes)));
  static constexpr int kOwn = kRegisterBytes / sizeof(T);
  static constexpr int kCount = kOwn;
  static constexpr int kStride = 1;

  static TS_HD T& lane(V& v, int l) { return reinterpret_cast<T*>(&v)[l]; }
  static TS_HD T low(const V& v) { return v[0]; }
  static TS_HD T high(const V& v) { return v[kOwn - 1]; }
  template <class Group>
  static TS_HD void put(Group& group, int l, double t, double weight) {
    group.t[l] = t;
    group.weight[l] = weight;
  }
  static TS_HD V fused(V a, V b, V c) {
    V r;
    for (int l = 0; l < kOwn; ++l) r[l] = torchsmooth::fused(T(a[l]), T(b[l]), T(c[l]));
    return r;
  }
  static TS_HD T sum(const V& v) { return sum_halves<kOwn>(v); }
  // In blocks, so that many terms keep their digits.
  static TS_HD V total(Cells<VectorLanes> cells, int64_t size) {
    constexpr int64_t block = 512;
    V all{};
    for (int64_t begin = 0; begin < size; begin += block) {
      V part{};
      for (int64_t a = begin; a < std::min(size, begin + block); ++a) part += cells[a];
      all += part;
    }
    return all;
  }

 private:
  template <int kSize, class W>
  static TS_HD T sum_halves(const W& v) {
    if constexpr (kSize == 2) {
      return v[0] + v[1];
    } else {
      typedef T Half __attribute__((vector_size(kSize / 2 * sizeof(T))));
      Half half[2];
      memcpy(half, &v, sizeof(v));
      return sum_halves<kSize / 2>(half[0] + half[1]);
    }
  }
};

template <class T>
struct OrderWorkspace {
  using Lanes = VectorLanes<T>;
  NodeGroup<Lanes>* groups;

  static TS_HD Workspace<Lanes> make(NodeGroup<Lanes>* groups, int capacity, int64_t n,
                                     T* scratch, int32_t* indices) {
    Shelf<Lanes> shelf{reinterpret_cast<typename Lanes::V*>(scratch)};
    for (int g = 0; g < capacity; ++g)
      new (groups + g) NodeGroup<Lanes>(shelf, n, indices + g * NodeGroup<Lanes>::indices(n));
    return {kNodeTable, groups, capacity, shelf};
  }
};

}  // namespace torchsmooth::TORCHSMOOTH_ISA
