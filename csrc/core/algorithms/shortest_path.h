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

// Also for vectors; Bits: integers of the same size.
template <class Bits, class V>
TS_HD V step_cost(V cheapest, V weight) {
  const V sum = cheapest + weight, higher = bit_cast<V>(bit_cast<Bits>(cheapest) + 1);
  return sum > higher ? sum : higher;
}

// Calls visit(cell) for the cells of the path from the target back to the source. cost(place): any
// number that grows with the cost. A cell is entered from its cheapest neighbor, the first in
// row-major order among equals.
template <bool kDiagonal, class Cost, class Visit>
TS_HD void walk_back(const Grid& grid, Cost&& cost, Visit&& visit) {
  constexpr int count = kDiagonal ? 8 : 4;
  const int32_t s = grid.stride(), source = grid.place(grid.source);
  const int32_t offsets[8] = {kDiagonal ? -s - 1 : -s, kDiagonal ? -s : -1, kDiagonal ? -s + 1 : 1,
                              kDiagonal ? -1 : s,      1,                   s - 1,
                              s,                       s + 1};
  int32_t place = grid.place(grid.target), cell = grid.target;
  visit(cell);
  while (place != source) {
    int32_t step = offsets[0];
    auto best = cost(place + step);
    for (int k = 1; k < count; ++k) {
      const auto candidate = cost(place + offsets[k]);
      const bool better = candidate < best;
      best = better ? candidate : best;
      step = better ? offsets[k] : step;
    }
    place += step;
    cell += step - 2 * ((step > 1) - (step < -1));  // a row of places has two more than one of cells
    visit(cell);
  }
}

}  // namespace torchsmooth
