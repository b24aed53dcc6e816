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

// Cell by cell, each waits for the one before: two registers of grids keep the processor busy. Such
// slices of the grids are swept one after the other.
constexpr int kSliceRegisters = 2;
template <class T>
constexpr int kRegisterLanes = kRegisterBytes / static_cast<int>(sizeof(T));
template <class T>
constexpr int kSliceLanes = kSliceRegisters * kRegisterLanes<T>;
static_assert(kPathGrids % kSliceLanes<float> == 0);

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
  using Bits = Register<BitsOf<T>>;
  constexpr int64_t step = kDown ? kPathGrids : -kPathGrids;
  constexpr int lanes = kRegisterLanes<T>;
  const int64_t first = kDown ? 0 : grid.width - 1;
  const int64_t place = (row + 1) * grid.stride() + 1 + first;
  T* here = cost + place * kPathGrids;
  const T* before = cost + (place + (kDown ? -1 : 1) * grid.stride()) * kPathGrids;
  const T* own = weight + (row * grid.width + first) * kPathGrids;
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

// So many sweeps of a slice take about as long as searching one of its grids.
constexpr int kSweepsPerSearch = 8;

// The costs of reaching all places, of kPathGrids grids side by side: weight [cells, kPathGrids],
// cost [places, kPathGrids]. Bit t of `wanted`: whether anybody asks for grid t. Sweeps go down and
// up in turn. What a sweep leaves satisfies the edges that it relaxes, so that a sweep that changes
// nothing after one in the other direction is the last. Paths that turn often take a sweep for each
// turn: when searching the grids would have been faster, they are searched.
template <bool kDiagonal, class T>
__attribute__((noinline)) static void find_costs(const Grid& grid, uint32_t wanted, const T* weight,
                                                 T* cost, int32_t* next) {
  for (int64_t k = 0; k < int64_t(grid.places()) * kPathGrids; ++k) cost[k] = unreached<T>();
  T* const source = cost + int64_t(grid.place(grid.source)) * kPathGrids;
  for (int t = 0; t < kPathGrids; ++t) source[t] = least_normal(T());
  for (int slice = 0; slice < kPathGrids; slice += kSliceLanes<T>) {
    const uint32_t grids = (wanted >> slice) & ((1u << kSliceLanes<T>)-1);
    const T* const own = weight + slice;
    T* const slots = cost + slice;
    bool converged = grids == 0;
    for (int sweep = 0; !converged && sweep < kSweepsPerSearch * __builtin_popcount(grids); ++sweep) {
      bool changed = false;
      if (sweep % 2 == 0) {
        for (int64_t row = 0; row < grid.height; ++row)
          changed |= relax_row<kDiagonal, true>(grid, row, own, slots);
      } else {
        for (int64_t row = grid.height - 1; row >= 0; --row)
          changed |= relax_row<kDiagonal, false>(grid, row, own, slots);
      }
      converged = !changed && sweep > 0;
    }
    for (int t = 0; !converged && t < kSliceLanes<T>; ++t) {
      if (((grids >> t) & 1) == 0) continue;
      search_costs<kDiagonal, T>(
          grid, [&](int64_t cell) { return own[cell * kPathGrids + t]; },
          [&](int64_t place) -> T& { return slots[place * kPathGrids + t]; }, next);
    }
  }
}

// Calls run(std::true_type) for grids with diagonal steps, else run(std::false_type).
template <class F>
TS_HD void with_steps(const Grid& grid, F&& run) {
  if (grid.diagonal) {
    run(std::true_type{});
  } else {
    run(std::false_type{});
  }
}

// Finds the paths of kPathGrids grids; calls visit(t, cell) for every cell of the path of each grid
// t that is wanted.
template <class T, class Visit>
TS_HD void for_each_path_cell(const Grid& grid, uint32_t wanted, const T* weight, T* cost,
                              int32_t* next, Visit&& visit) {
  with_steps(grid, [&](auto diagonal) __attribute__((always_inline)) {
    constexpr bool kDiagonal = decltype(diagonal)::value;
    find_costs<kDiagonal>(grid, wanted, weight, cost, next);
    for (int t = 0; t < kPathGrids; ++t) {
      if (((wanted >> t) & 1) == 0) continue;
      walk_back<kDiagonal>(
          grid,
          // Positive numbers and their bits have the same order, and integers need no branch.
          [&](int64_t place) __attribute__((always_inline)) {
            return bit_cast<BitsOf<T>>(cost[place * kPathGrids + t]);
          },
          [&](int32_t cell) __attribute__((always_inline)) { visit(t, cell); });
    }
  });
}

// The path of one grid, whose weights have not been clamped.
template <bool kDiagonal, class T>
__attribute__((noinline)) static void search_path(const Grid& grid, const T* weights, T* path,
                                                  T* cost, int32_t* next) {
  const WeightBounds<T> bounds(grid);
  search_costs<kDiagonal, T>(
      grid, [&](int64_t cell) { return bounds.clamp(weights[cell]); },
      [&](int64_t place) -> T& { return cost[place]; }, next);
  walk_back<kDiagonal>(
      grid, [&](int64_t place) { return bit_cast<BitsOf<T>>(cost[place]); },
      [&](int32_t cell) { path[cell] = T(1); });
}

// The paths of up to kPathGrids grids.
template <class T>
void hard_shortest_path(const Grid& grid, int64_t count, const T* weights, T* path,
                        const PathScratch<T>& scratch) {
  const int64_t n = grid.cells();
  for (int64_t k = 0; k < count * n; ++k) path[k] = T(0);
  if (grids_are_searched(grid, count)) {
    with_steps(grid, [&](auto diagonal) {
      for (int64_t k = 0; k < count; ++k)
        search_path<decltype(diagonal)::value>(grid, weights + k * n, path + k * n, scratch.cost,
                                               scratch.next);
    });
    return;
  }
  const WeightBounds<T> bounds(grid);
  T* const weight = scratch.weight;
  for (int64_t j = 0; j < n; ++j) {
    for (int t = 0; t < kPathGrids; ++t)
      weight[j * kPathGrids + t] = t < count ? bounds.clamp(weights[t * n + j]) : T(1);
  }
  for_each_path_cell(
      grid, (1u << count) - 1, weight, scratch.cost, scratch.next,
      [&](int t, int32_t cell) __attribute__((always_inline)) { path[t * n + cell] = T(1); });
}

// Perturbs the grids of one block, and finds their paths.
template <class T>
struct PathBlock {
  Grid grid;
  WeightBounds<T> bounds;
  int64_t n;
  PathScratch<T> scratch;

  TS_HD PathBlock(const Grid& grid, const PathScratch<T>& scratch)
      : grid(grid), bounds(grid), n(grid.cells()), scratch(scratch) {}

  // Scores and scale weights, [n, kBlock] each, are kept where there is room for them.
  TS_HD void draw(const Noise<T>& noise, Range range, int64_t first_quad, const T* x, T* scores,
                  T* scale_weights) {
    T epsilon[kBlock], unused[kBlock];
    const auto perturb_one = [&](int64_t j, const uint32_t(&word)[kBlock]) {
      word_weights<T>(noise, word, epsilon, scores ? scores + j * kBlock : unused,
                      scale_weights ? scale_weights + j * kBlock : unused);
      const T s = noise.scale_at(range.element, j), center = x[j];
      for (int group = 0; group < kBlock / kPathGrids; ++group) {
        T* const out = scratch.weight + (group * n + j) * kPathGrids;
        for (int t = 0; t < kPathGrids; ++t)
          out[t] = bounds.clamp(fused(s, epsilon[group * kPathGrids + t], center));
      }
    };
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad, perturb_one);
  }

  // Calls visit(slot, cell) for the paths of all samples of the range.
  template <class Visit>
  TS_HD void for_each_cell(Range range, int64_t first_quad, Visit&& visit) {
    for (int group = 0; group < kBlock / kPathGrids; ++group) {
      const int first = group * kPathGrids;
      uint32_t wanted = 0;
      for (int t = 0; t < kPathGrids; ++t)
        wanted |= uint32_t(block_sample(first_quad, first + t) < range.end) << t;
      for_each_path_cell(
          grid, wanted, scratch.weight + first * n, scratch.cost, scratch.next,
          [&](int t, int32_t cell) __attribute__((always_inline)) { visit(first + t, cell); });
    }
  }
};

template <class T>
void shortest_path(const Noise<T>& noise, Range range, const Grid& grid, const T* x,
                   uint32_t* counts, const PathScratch<T>& scratch) {
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
                            const T* x, const T* grad, T baseline, double* sums,
                            const PathBackwardScratch<T>& scratch) {
  PathBlock<T> block(grid, scratch.block);
  const int64_t weights = scale ? 2 * block.n : block.n;
  T* const weight = scratch.weight;
  BlockSums<T, double> block_sums(weights, scratch.partial, sums);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x, weight, scale ? weight + block.n * kBlock : nullptr);
    T g[kBlock];
    for (int t = 0; t < kBlock; ++t) g[t] = T(0);
    block.for_each_cell(range, first_quad,
                        [&](int t, int32_t cell) __attribute__((always_inline)) {
                          g[t] += grad[cell];
                        });
    // Slots behind the end of the range count for nothing.
    for (int t = 0; t < kBlock; ++t)
      g[t] = block_sample(first_quad, t) < range.end ? g[t] - baseline : T(0);
    for (int64_t k = 0; k < weights; ++k) block_sums.add_product(k, g, weight + k * kBlock);
    block_sums.end_block();
  });
  block_sums.flush();
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
