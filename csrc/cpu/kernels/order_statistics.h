#pragma once

#include "../../core/algorithms/order_statistics.h"
#include "vector.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// A vector of nodes is as wide as a register.
#if defined(TORCHSMOOTH_AVX512)
constexpr int kNodeBytes = 64;
#elif defined(TORCHSMOOTH_AVX2)
constexpr int kNodeBytes = 32;
#else
constexpr int kNodeBytes = 16;
#endif

inline constexpr NodeTable kNodeTable;

template <class T>
struct VectorLanes {
  using Value = T;
  typedef T V __attribute__((vector_size(kNodeBytes)));
  static constexpr int kOwn = kNodeBytes / sizeof(T);
  static constexpr int kCount = kOwn;
  static constexpr int kStride = 1;

  static TS_HD bool leads() { return true; }
  static TS_HD void sync() {}
  static TS_HD T& lane(V& v, int l) { return reinterpret_cast<T*>(&v)[l]; }
  static TS_HD T low(const V& v) { return v[0]; }
  static TS_HD T high(const V& v) { return v[kOwn - 1]; }
  template <class Group>
  static TS_HD void put(Group& group, int l, double origin, double offset, double weight) {
    group.origin[l] = origin;
    group.offset[l] = offset;
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
class OrderMemory {
 public:
  using Lanes = VectorLanes<T>;
  TS_HD OrderMemory(const OrderTask& task, T* scratch, int32_t* indices)
      : quadrature_{kNodeTable, groups_, task.groups,
                    Shelf<Lanes>{reinterpret_cast<typename Lanes::V*>(scratch)}} {
    const int64_t n = task.contest.axis.n;
    for (int g = 0; g < task.groups; ++g)
      groups_[g] = NodeGroup<Lanes>(quadrature_.shelf, n, indices + g * 2 * n);
  }
  TS_HD const Quadrature<Lanes>& quadrature() const { return quadrature_; }

 private:
  NodeGroup<Lanes> groups_[kMostGroups];
  Quadrature<Lanes> quadrature_;
};

template <class T>
void order_statistics(const OrderTask& task, T* sums, T* scratch, int32_t* indices) {
  const OrderMemory<T> memory(task, scratch, indices);
  const int64_t first = task.contest.first, positions = task.contest.last - first;
  const bool ranks = task.output == SortOutput::ranks;
  expect(task.contest, task.output, memory.quadrature(), [&](int64_t k, int64_t i, T value) {
    sums[ranks ? i : i * positions + k - first] += value;
  });
}

template <class T>
void order_statistics_backward(const OrderTask& task, const T* upstream, T* gradients, T* scratch,
                               int32_t* indices) {
  const OrderMemory<T> memory(task, scratch, indices);
  const int64_t n = task.contest.axis.n;
  const int64_t rows = task.output == SortOutput::ranks ? 1 : n;
  differentiate(
      task.contest, task.output, memory.quadrature(),
      [&](int64_t k, int64_t i) { return upstream[i * rows + k]; },
      [&](int64_t i, T in_x, T in_scale) {
        gradients[i] = in_x;
        gradients[n + i] = in_scale;
      });
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
