#pragma once

#include "../../core/algorithms/shortest_path.h"
#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Vectors as wide as the registers: comparisons of wider ones fall apart into single numbers.
#if defined(TORCHSMOOTH_AVX2)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif
template <class T>
struct RegisterOf {
  typedef T type __attribute__((vector_size(kRegisterBytes), aligned(sizeof(T))));
};
template <class T>
using Register = typename RegisterOf<T>::type;

template <class T>
TS_HD Register<T>& register_at(T* p) {
  return *reinterpret_cast<Register<T>*>(p);
}
template <class T>
TS_HD const Register<T>& register_at(const T* p) {
  return *reinterpret_cast<const Register<T>*>(p);
}

// Cell by cell, each waits for the one before: two registers of lanes keep the processor busy. Such
// slices of the lanes are swept one after the other.
constexpr int kSliceRegisters = 2;
template <class T>
constexpr int kRegisterLanes = kRegisterBytes / static_cast<int>(sizeof(T));
template <class T>
constexpr int kSliceLanes = kSliceRegisters * kRegisterLanes<T>;
static_assert(kPathLanes % kSliceLanes<float> == 0);

template <class V>
TS_HD bool any_bit(const V& mask) {
  int64_t words[sizeof(V) / 8], any = 0;
  __builtin_memcpy(words, &mask, sizeof(V));
  for (const int64_t word : words) any |= word;
  return any != 0;
}

// Relaxes the cells of one row of a slice, in the direction of `kDown` (from left to right, else
// from right to left), over the edges from the row before and from the cell before. Returns whether
// a cost fell.
template <bool kDiagonal, bool kDown, class T>
TS_HD bool relax_row(const Grid& grid, int64_t row, const T* weight, T* cost) {
  using Bits = Register<IndexOf<T>>;
  constexpr int64_t step = kDown ? kPathLanes : -kPathLanes;
  constexpr int lanes = kRegisterLanes<T>;
  const int64_t first = kDown ? 0 : grid.width - 1;
  const int64_t place = (row + 1) * grid.stride() + 1 + first;
  T* here = cost + place * kPathLanes;
  const T* before = cost + (place + (kDown ? -1 : 1) * grid.stride()) * kPathLanes;
  const T* own = weight + (row * grid.width + first) * kPathLanes;
  Register<T> last[kSliceRegisters], diagonal[kSliceRegisters], straight[kSliceRegisters];
  Bits changed[kSliceRegisters];
  for (int v = 0; v < kSliceRegisters; ++v) {
    last[v] = register_at(here - step + v * lanes);
    diagonal[v] = register_at(before - step + v * lanes);
    straight[v] = register_at(before + v * lanes);
    changed[v] = Bits{};
  }
  const auto min = [](const Register<T>& a, const Register<T>& b) __attribute__((always_inline)) {
    return a < b ? a : b;
  };
  for (int32_t c = 0; c < grid.width; ++c) {
    before += step;
    for (int v = 0; v < kSliceRegisters; ++v) {
      const Register<T> next = register_at(before + v * lanes);
      Register<T> cheapest = straight[v];
      if (kDiagonal) cheapest = min(min(cheapest, diagonal[v]), next);
      cheapest = min(cheapest, last[v]);
      diagonal[v] = straight[v];
      straight[v] = next;
      Register<T>& slot = register_at(here + v * lanes);
      const Register<T> old = slot;
      const Register<T> now = min(step_cost<Bits>(cheapest, register_at(own + v * lanes)), old);
      changed[v] |= (Bits)now ^ (Bits)old;
      slot = last[v] = now;
    }
    here += step;
    own += step;
  }
  Bits any = changed[0];
  for (int v = 1; v < kSliceRegisters; ++v) any |= changed[v];
  return any_bit(any);
}

// The costs of reaching all places, of kPathLanes grids side by side: weight [cells, kPathLanes],
// cost [places, kPathLanes]. Sweeps go down and up in turn. What a sweep leaves satisfies the edges
// that it relaxes, so that a sweep that changes nothing after one in the other direction is the
// last.
template <bool kDiagonal, class T>
__attribute__((noinline)) static void find_costs(const Grid& grid, const T* weight, T* cost) {
  for (int64_t k = 0; k < int64_t(grid.places()) * kPathLanes; ++k) cost[k] = unreached<T>();
  T* const source = cost + int64_t(grid.place(grid.source)) * kPathLanes;
  for (int t = 0; t < kPathLanes; ++t) source[t] = least_normal(T());
  for (int slice = 0; slice < kPathLanes; slice += kSliceLanes<T>) {
    const T* const own = weight + slice;
    T* const slots = cost + slice;
    for (bool first = true;; first = false) {
      bool changed = false;
      for (int64_t row = 0; row < grid.height; ++row)
        changed |= relax_row<kDiagonal, true>(grid, row, own, slots);
      if (!changed && !first) break;
      changed = false;
      for (int64_t row = grid.height - 1; row >= 0; --row)
        changed |= relax_row<kDiagonal, false>(grid, row, own, slots);
      if (!changed) break;
    }
  }
}

// Finds the paths of kPathLanes grids; calls visit(lane, cell) for every cell of the paths of lanes
// for which wanted(lane) holds.
template <class T, class Wanted, class Visit>
TS_HD void for_each_path_cell(const Grid& grid, const T* weight, T* cost, Wanted&& wanted,
                              Visit&& visit) {
  const auto run = [&](auto diagonal) __attribute__((always_inline)) {
    constexpr bool kDiagonal = decltype(diagonal)::value;
    find_costs<kDiagonal>(grid, weight, cost);
    for (int t = 0; t < kPathLanes; ++t) {
      if (!wanted(t)) continue;
      walk_back<kDiagonal>(
          grid,
          // Positive numbers and their bits have the same order, and integers need no branch.
          [&](int64_t place) __attribute__((always_inline)) {
            return bit_cast<IndexOf<T>>(cost[place * kPathLanes + t]);
          },
          [&](int32_t cell) __attribute__((always_inline)) { visit(t, cell); });
    }
  };
  if (grid.diagonal) {
    run(std::true_type{});
  } else {
    run(std::false_type{});
  }
}

// The paths of up to kPathLanes grids.
template <class T>
void hard_shortest_path(const Grid& grid, int64_t count, const T* weights, T* path, T* scratch) {
  const int64_t n = grid.cells();
  const WeightBounds<T> bounds(grid);
  T* const weight = scratch;
  for (int64_t j = 0; j < n; ++j) {
    for (int t = 0; t < kPathLanes; ++t)
      weight[j * kPathLanes + t] = t < count ? bounds.clamp(weights[t * n + j]) : T(1);
  }
  for (int64_t k = 0; k < count * n; ++k) path[k] = T(0);
  for_each_path_cell(
      grid, weight, weight + n * kPathLanes, [&](int t) { return t < count; },
      [&](int t, int32_t cell) __attribute__((always_inline)) { path[t * n + cell] = T(1); });
}

// Perturbs the grids of one block, and finds their paths.
template <class T>
struct PathBlock {
  Grid grid;
  WeightBounds<T> bounds;
  int64_t n;
  T* weight;  // [kLanes / kPathLanes, n, kPathLanes]
  T* cost;    // [places, kPathLanes]
  T* rest;    // scratch that is left

  TS_HD PathBlock(const Grid& grid, T* scratch)
      : grid(grid),
        bounds(grid),
        n(grid.cells()),
        weight(scratch),
        cost(scratch + n * kLanes),
        rest(cost + int64_t(grid.places()) * kPathLanes) {}

  // Scores and scale weights, [n, kLanes] each, are kept where there is room for them.
  TS_HD void draw(const Noise<T>& noise, Range range, int64_t first_quad, const T* x, T* scores,
                  T* scale_weights) {
    T epsilon[kLanes], unused[kLanes];
    const auto take = [&](int64_t j, const uint32_t(&word)[kLanes]) {
      word_weights<T>(noise, word, epsilon, scores ? scores + j * kLanes : unused,
                      scale_weights ? scale_weights + j * kLanes : unused);
      const T s = noise.scale_at(range.element, j), center = x[j];
      for (int group = 0; group < kLanes / kPathLanes; ++group) {
        T* const out = weight + (group * n + j) * kPathLanes;
        for (int t = 0; t < kPathLanes; ++t)
          out[t] = bounds.clamp(fused(s, epsilon[group * kPathLanes + t], center));
      }
    };
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad, take);
  }

  // Calls visit(lane, cell) for the paths of all samples of the range.
  template <class Visit>
  TS_HD void for_each_cell(Range range, int64_t first_quad, Visit&& visit) {
    for (int group = 0; group < kLanes / kPathLanes; ++group) {
      const int first = group * kPathLanes;
      for_each_path_cell(
          grid, weight + first * n, cost,
          [&](int t) { return lane_sample(first_quad, first + t) < range.end; },
          [&](int t, int32_t cell) __attribute__((always_inline)) { visit(first + t, cell); });
    }
  }
};

template <class T>
void shortest_path(const Noise<T>& noise, Range range, const Grid& grid, const T* x,
                   uint32_t* counts, T* scratch) {
  PathBlock<T> block(grid, scratch);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x, nullptr, nullptr);
    block.for_each_cell(range, first_quad, [&](int, int32_t cell) __attribute__((always_inline)) {
      ++counts[cell];
    });
  });
}

template <class T>
void shortest_path_backward(const Noise<T>& noise, Range range, const Grid& grid, bool scale,
                            const T* x, const T* grad, T baseline, double* sums, T* scratch) {
  PathBlock<T> block(grid, scratch);
  const int64_t weights = scale ? 2 * block.n : block.n;
  T* const weight = block.rest;  // [weights, kLanes]
  LaneSums<T, double> lanes(weights, weight + weights * kLanes, sums);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x, weight, scale ? weight + block.n * kLanes : nullptr);
    T g[kLanes];
    for (int t = 0; t < kLanes; ++t) g[t] = T(0);
    block.for_each_cell(range, first_quad,
                        [&](int t, int32_t cell) __attribute__((always_inline)) {
                          g[t] += grad[cell];
                        });
    // Lanes behind the end of the range count for nothing.
    for (int t = 0; t < kLanes; ++t)
      g[t] = lane_sample(first_quad, t) < range.end ? g[t] - baseline : T(0);
    for (int64_t k = 0; k < weights; ++k) lanes.add_product(k, g, weight + k * kLanes);
    lanes.end_block();
  });
  lanes.flush();
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
