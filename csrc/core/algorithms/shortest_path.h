// Shortest paths on grids of cells that cost something to step on. (On graphs, whose edges cost
// something, all is the same with weight(u, v).)
//
// The cost of reaching a cell is the unique solution of
//   cost(source) = the least normal number,
//   cost(v) = step_cost(min of cost(u) over the neighbors u of v, weight(v)).
// step_cost(a, w) grows with a and is greater than a, also where a + w rounds to a. So a cheapest
// path has no cycle, costs fall strictly along the way back, and relaxation in any order, from
// costs that are too high, ends at the same bits: devices choose the order that suits them.
#pragma once

#include <float.h>

#include <type_traits>

#include "../math.h"

namespace torchsmooth {

// Passed by value to the kernels. Cells are counted in row-major order. Costs stand in a grid with
// a border of one cell that costs more than any path and that no path enters; `place` counts there.
struct Grid {
  int32_t height;
  int32_t width;
  bool diagonal;  // 8 neighbors, else 4
  int32_t source;
  int32_t target;
  double min_weight;

  TS_HD int32_t cells() const { return height * width; }
  TS_HD int32_t stride() const { return width + 2; }
  TS_HD int32_t places() const { return (height + 2) * stride(); }
  TS_HD int32_t place(int32_t cell) const {
    return (cell / width + 1) * stride() + cell % width + 1;
  }
  TS_HD int32_t cell(int32_t place) const {
    return (place / stride() - 1) * width + place % stride() - 1;
  }
};

TS_HD float largest(float) { return FLT_MAX; }
TS_HD double largest(double) { return DBL_MAX; }
TS_HD float least_normal(float) { return FLT_MIN; }
TS_HD double least_normal(double) { return DBL_MIN; }

// More than any path costs.
template <class T>
TS_HD T unreached() {
  return largest(T()) / 2;
}

// Weights lie in [lowest, highest]; no sum of them along a path reaches `unreached`.
template <class T>
struct WeightBounds {
  T lowest;
  T highest;

  TS_HD WeightBounds(double min_weight, int64_t nodes)
      : lowest(static_cast<T>(min_weight)),
        highest(static_cast<T>(static_cast<double>(largest(T())) / (4.0 * nodes))) {}
  TS_HD explicit WeightBounds(const Grid& grid) : WeightBounds(grid.min_weight, grid.cells()) {}

  TS_HD T clamp(T y) const {
    const T raised = y > lowest ? y : lowest;
    return raised < highest ? raised : highest;
  }
};

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

TS_HD int highest_bit(uint64_t x) {
#if defined(__CUDA_ARCH__)
  return 63 - __clzll(static_cast<int64_t>(x));
#else
  return 63 - __builtin_clzll(x);
#endif
}
TS_HD int lowest_bit(uint64_t x) { return highest_bit(x & (~x + 1)); }

// Also for vectors; Bits: integers of the same size.
template <class Bits, class V>
TS_HD V step_cost(V cheapest, V weight) {
  const V sum = cheapest + weight, higher = bit_cast<V>(bit_cast<Bits>(cheapest) + 1);
  return sum > higher ? sum : higher;
}

// From a place to its neighbors, in row-major order.
template <bool kDiagonal>
struct Steps {
  static constexpr int kCount = kDiagonal ? 8 : 4;
  int32_t offset[8];

  TS_HD explicit Steps(int32_t stride)
      : offset{kDiagonal ? -stride - 1 : -stride,
               kDiagonal ? -stride : -1,
               kDiagonal ? -stride + 1 : 1,
               kDiagonal ? -1 : stride,
               1,
               stride - 1,
               stride,
               stride + 1} {}

};
// The same step from a cell: a row of places has two more than one of cells.
TS_HD int32_t step_in_cells(int32_t offset) {
  return offset - 2 * ((offset > 1) - (offset < -1));
}

// The places that have a cost and whose neighbors have not been looked at, by cost: a radix heap
// (Ahuja, Mehlhorn, Orlin, Tarjan, "Faster algorithms for the shortest path problem", 1990). No cost
// is below the last one that was taken out. A place is in the bucket of the highest bit in which its
// cost differs from that one, and buckets are lists.
template <class T>
class CostQueue {
 public:
  TS_HD explicit CostQueue(int32_t* next) : next_(next) {}

  TS_HD bool empty() const { return filled_ == 0; }

  TS_HD void push(int32_t place, T cost) {
    const int bucket = bucket_of(bit_cast<Bits>(cost));
    next_[place] = (filled_ >> bucket) & 1 ? first_[bucket] : kNone;
    first_[bucket] = place;
    filled_ |= uint64_t(1) << bucket;
  }

  // Takes out a place of the least cost. cost(place): what it was pushed with.
  template <class Cost>
  TS_HD int32_t pop(Cost&& cost) {
    if ((filled_ & 1) == 0) {
      const int bucket = lowest_bit(filled_);
      filled_ ^= uint64_t(1) << bucket;
      last_ = bit_cast<Bits>(static_cast<T>(cost(first_[bucket])));
      for (int32_t place = next_[first_[bucket]]; place != kNone; place = next_[place]) {
        const Bits bits = bit_cast<Bits>(static_cast<T>(cost(place)));
        last_ = bits < last_ ? bits : last_;
      }
      for (int32_t place = first_[bucket]; place != kNone;) {
        const int32_t behind = next_[place];
        push(place, cost(place));
        place = behind;
      }
    }
    const int32_t place = first_[0];
    first_[0] = next_[place];
    if (first_[0] == kNone) filled_ &= ~uint64_t(1);
    return place;
  }

 private:
  using Bits = BitsOf<T>;  // costs are positive: as integers they have the same order
  static constexpr int32_t kNone = -1;

  TS_HD int bucket_of(Bits bits) const {
    const uint64_t different = static_cast<uint64_t>(bits ^ last_);
    return different == 0 ? 0 : highest_bit(different) + 1;
  }

  int32_t* next_;  // the place behind a place in its bucket
  int32_t first_[8 * sizeof(T)];
  uint64_t filled_ = 0;  // bit b: whether bucket b has places
  Bits last_ = 0;
};

// The costs of the places that are cheaper than the target and of those around them, as many as
// `walk_back` needs, in the order of the costs: Dijkstra, "A note on two problems in connexion with
// graphs", 1959. What reaches a cell first reaches it cheapest, because steps to a cell cost the same
// from all sides. weight(cell), within bounds; cost(place), a reference; next: [places].
template <bool kDiagonal, class T, class Weight, class Cost>
TS_HD void search_costs(const Grid& grid, Weight&& weight, Cost&& cost, int32_t* next) {
  const Steps<kDiagonal> steps(grid.stride());
  const int32_t target = grid.place(grid.target);
  for (int32_t place = 0; place < grid.places(); ++place) cost(place) = largest(T());
  for (int32_t row = 0; row < grid.height; ++row) {
    const int32_t first = grid.place(0) + row * grid.stride();
    for (int32_t c = 0; c < grid.width; ++c) cost(first + c) = unreached<T>();
  }
  CostQueue<T> queue(next);
  cost(grid.place(grid.source)) = least_normal(T());
  queue.push(grid.place(grid.source), least_normal(T()));
  while (cost(target) == unreached<T>() && !queue.empty()) {
    const int32_t place = queue.pop(cost);
    const int32_t cell = grid.cell(place);
    const T here = cost(place);
    for (int k = 0; k < Steps<kDiagonal>::kCount; ++k) {
      const int32_t neighbor = place + steps.offset[k];
      T& there = cost(neighbor);
      if (there != unreached<T>()) continue;
      there = step_cost<BitsOf<T>>(here, weight(cell + step_in_cells(steps.offset[k])));
      queue.push(neighbor, there);
    }
  }
}

// Calls visit(cell) for the cells of the path from the target back to the source. cost(place): any
// number that grows with the cost. A cell is entered from its cheapest neighbor, the first in
// row-major order among equals.
template <bool kDiagonal, class Cost, class Visit>
TS_HD void walk_back(const Grid& grid, Cost&& cost, Visit&& visit) {
  const Steps<kDiagonal> steps(grid.stride());
  const int32_t source = grid.place(grid.source);
  int32_t place = grid.place(grid.target), cell = grid.target;
  visit(cell);
  while (place != source) {
    int32_t step = steps.offset[0];
    auto best = cost(place + step);
    for (int k = 1; k < Steps<kDiagonal>::kCount; ++k) {
      const auto candidate = cost(place + steps.offset[k]);
      const bool better = candidate < best;
      best = better ? candidate : best;
      step = better ? steps.offset[k] : step;
    }
    place += step;
    cell += step_in_cells(step);
    visit(cell);
  }
}

}  // namespace torchsmooth
