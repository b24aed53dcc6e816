#pragma once

#include "../../core/algorithms/sort.h"
#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Up to here, comparing all pairs takes fewer instructions than the sorting network.
constexpr int64_t kCountingLimit = 24;

// Calls exchange(i, j), i < j, for every comparator of the sorting network.
template <class F>
TS_HD void for_each_comparator(int64_t n, F&& exchange) {
  for_each_stage(n, [&](Stage stage) __attribute__((always_inline)) {
    for (int64_t i = 0; i + stage.d < n; ++i) {
      if ((i & stage.p) == stage.r) exchange(i, i + stage.d);
    }
  });
}

// Sorts the lanes of y; index becomes the element of each position. A function, not inlined: GCC
// does not keep the vectors of a comparator in registers where much else is alive.
template <bool kDescending, class T>
__attribute__((noinline)) static void sort_with_index(int64_t n, T* y, IndexOf<T>* index) {
  for (int64_t j = 0; j < n; ++j) {
    for (int t = 0; t < kLanes; ++t) index[j * kLanes + t] = static_cast<IndexOf<T>>(j);
  }
  for_each_comparator(n, [&](int64_t i, int64_t j) __attribute__((always_inline)) {
    for (int t = 0; t < kLanes; t += kQuads) {
      const Vector<T> a = vector_at(y + i * kLanes + t), b = vector_at(y + j * kLanes + t);
      const Mask<T> p = vector_at(index + i * kLanes + t), q = vector_at(index + j * kLanes + t);
      const Mask<T> exchange = out_of_order(a, p, b, q, kDescending);
      vector_at(y + i * kLanes + t) = exchange ? b : a;
      vector_at(y + j * kLanes + t) = exchange ? a : b;
      vector_at(index + i * kLanes + t) = exchange ? q : p;
      vector_at(index + j * kLanes + t) = exchange ? p : q;
    }
  });
}

// Sorts the lanes of y, where nobody asks which element a value came from.
template <bool kDescending, class T>
__attribute__((noinline)) static void sort_values(int64_t n, T* y) {
  for_each_comparator(n, [&](int64_t i, int64_t j) __attribute__((always_inline)) {
    T* const low = y + (kDescending ? j : i) * kLanes;
    T* const high = y + (kDescending ? i : j) * kLanes;
    for (int t = 0; t < kLanes; t += kQuads) {
      const Vector<T> a = vector_at(low + t), b = vector_at(high + t);
      vector_at(low + t) = a < b ? a : b;
      vector_at(high + t) = a < b ? b : a;
    }
  });
}

// The permutations of kPermutationLimit elements by number. Digit b of a number, in the base of
// factorials, is how many of the elements before b in the input b overtakes. So the first n! are
// the permutations of n elements, with all others behind them.
struct Permutations {
  uint8_t element[factorial(kPermutationLimit)][kPermutationLimit] = {};  // at each position

  constexpr Permutations() {
    for (int64_t number = 0; number < factorial(kPermutationLimit); ++number) {
      uint8_t* const order = element[number];
      int64_t digits = number;
      for (int64_t b = 0; b < kPermutationLimit; ++b) {
        const int64_t position = b - digits % (b + 1);
        digits /= b + 1;
        for (int64_t k = b; k > position; --k) order[k] = order[k - 1];
        order[position] = static_cast<uint8_t>(b);
      }
    }
  }
};
constexpr Permutations kPermutations;

// Perturbs and sorts one block; scratch holds [n, kLanes] each of y, index, score, scale weights.
template <class T>
struct SortedBlock {
  using Index = IndexOf<T>;

  int64_t n;
  Sorting sorting;
  bool counted;  // index is the position of each element, else the element of each position
  T* y;
  Index* index;
  T* weight;  // [2 n, kLanes]: scores, scale weights
  T* rest;    // scratch that is left

  TS_HD SortedBlock(int64_t n, Sorting sorting, T* scratch)
      : n(n),
        sorting(sorting),
        counted(n <= kCountingLimit && !sorting.only_first()),
        y(scratch),
        index(reinterpret_cast<Index*>(scratch + n * kLanes)),
        weight(scratch + 2 * n * kLanes),
        rest(scratch + 4 * n * kLanes) {}

  // Lanes behind the end of the range get weights of 0.
  TS_HD void draw(const Noise<T>& noise, Range range, int64_t first_quad, const T* x) {
    const auto take = [&](int64_t j, const uint32_t(&word)[kLanes]) {
      const int64_t row = j * kLanes;
      word_weights<T>(noise, word, y + row, weight + row, weight + n * kLanes + row);
      const T s = noise.scale_at(range.element, j), center = x[j];
      for (int t = 0; t < kLanes; ++t) y[row + t] = fused(s, y[row + t], center);
    };
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad, take);
    if (is_whole(first_quad, range)) return;
    for (int64_t j = 0; j < 2 * n; ++j) {
      for (int t = 0; t < kLanes; ++t)
        weight[j * kLanes + t] =
            lane_sample(first_quad, t) < range.end ? weight[j * kLanes + t] : T(0);
    }
  }

  // For a matrix: afterwards index says where its ones are.
  TS_HD void sort() {
    if (sorting.only_first()) {
      find_first<kLanes>(y, n, sorting.descending, index);
    } else if (counted) {
      rank_by_counting<kLanes>(y, static_cast<int>(n), sorting.descending, index);
    } else if (sorting.descending) {
      sort_with_index<true>(n, y, index);
    } else {
      sort_with_index<false>(n, y, index);
    }
  }

  // Instead of sorting few elements: index becomes the number of each lane's permutation, times
  // stride. See Permutations.
  template <bool kDescending>
  TS_HD void number_permutations(int64_t stride) {
    Mask<T> number[kLanes / kQuads] = {};
    for (int64_t b = n - 1; b > 0; --b) {
      Mask<T> overtaken[kLanes / kQuads] = {};
      for (int64_t a = 0; a < b; ++a) {
        for (int c = 0; c < kLanes / kQuads; ++c) {
          const Vector<T> later = vector_at(y + b * kLanes + c * kQuads);
          const Vector<T> earlier = vector_at(y + a * kLanes + c * kQuads);
          overtaken[c] -= kDescending ? later > earlier : later < earlier;
        }
      }
      for (int c = 0; c < kLanes / kQuads; ++c)
        number[c] = number[c] * static_cast<Index>(b + 1) + overtaken[c];
    }
    for (int c = 0; c < kLanes / kQuads; ++c)
      vector_at(index + c * kQuads) = number[c] * static_cast<Index>(stride);
  }

  // For few elements: calls cell(c, masks) for each cell of the matrix, counted in [position,
  // element], with the lanes that have a 1 there.
  template <class F>
  TS_HD void for_each_cell(F&& cell) const {
    for (int64_t k = 0; k < sorting.positions(); ++k) {
      const Index position = static_cast<Index>(sorting.first + k);
      for (int64_t i = 0; i < n; ++i) {
        Mask<T> masks[kLanes / kQuads];
        for (int c = 0; c < kLanes / kQuads; ++c)
          masks[c] = vector_at(index + i * kLanes + c * kQuads) == position;
        cell(k * n + i, masks);
      }
    }
  }

  // Replaces index by the cells of the ones of each lane's matrix, `stride` entries each, and returns
  // how many there are. Ones at positions that are not wanted get the cell behind the last.
  TS_HD int64_t to_cells(int64_t stride) {
    const int64_t positions = sorting.positions();
    const Index none = static_cast<Index>(positions * n * stride);
    const Index first = static_cast<Index>(sorting.first);
    if (counted) {
      for (int64_t i = 0; i < n; ++i) {
        for (int t = 0; t < kLanes; t += kQuads) {
          Mask<T>& entry = vector_at(index + i * kLanes + t);
          const Mask<T> k = entry - first;
          const Mask<T> wanted = (k >= 0) & (k < static_cast<Index>(positions));
          const Mask<T> cell = (k * static_cast<Index>(n) + static_cast<Index>(i)) *
                               static_cast<Index>(stride);
          entry = wanted ? cell : broadcast(none);
        }
      }
      return n;
    }
    for (int64_t k = 0; k < positions; ++k) {
      for (int t = 0; t < kLanes; t += kQuads)
        vector_at(index + k * kLanes + t) =
            (vector_at(index + (sorting.first + k) * kLanes + t) + static_cast<Index>(k * n)) *
            static_cast<Index>(stride);
    }
    return positions;
  }

  // What stands in column c of the lanes' rows of weights: scores, 1 (for lanes that are `here`),
  // scale weights; null behind these.
  TS_HD const T* column(int64_t c, bool with_scale, const T* here) const {
    if (c < n) return weight + c * kLanes;
    if (c == n) return here;
    return with_scale && c <= 2 * n ? weight + (c - 1) * kLanes : nullptr;
  }

  // For values and ranks: the outcomes [m, kLanes] of the lanes.
  TS_HD T* sorted_outcome() {
    if (sorting.output == SortOutput::values) {
      if (sorting.descending) {
        sort_values<true>(n, y);
      } else {
        sort_values<false>(n, y);
      }
      return y + sorting.first * kLanes;
    }
    sort();
    if (counted) {
      TS_LANES
      for (int64_t k = 0; k < n * kLanes; ++k) y[k] = static_cast<T>(index[k] + 1);
    } else {
      for (int64_t k = 0; k < n; ++k) {
        for (int t = 0; t < kLanes; ++t) y[index[k * kLanes + t] * kLanes + t] = static_cast<T>(k + 1);
      }
    }
    return y;
  }

  TS_HD int64_t outcomes() const {
    return sorting.output == SortOutput::values ? sorting.positions() : n;
  }
};

template <class T>
void sort_matrix(const Noise<T>& noise, Range range, Sorting sorting, const T* x, uint32_t* counts,
                 T* scratch) {
  using Index = IndexOf<T>;
  SortedBlock<T> block(noise.n, sorting, scratch);
  if (!block.counted) {
    for_each_block(range, [&](int64_t first_quad) {
      block.draw(noise, range, first_quad, x);
      block.sort();
      const int64_t ones = block.to_cells(1);
      for (int64_t a = 0; a < ones; ++a) {
        for (int t = 0; t < kLanes; ++t)
          counts[block.index[a * kLanes + t]] += lane_sample(first_quad, t) < range.end;
      }
    });
    return;
  }
  Index* const ones = reinterpret_cast<Index*>(block.rest);  // [kLanes]: 1 for a sample of the range
  LaneSums<Index, uint32_t> lanes(sorting.positions() * noise.n, ones + kLanes, counts);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    block.sort();
    for (int t = 0; t < kLanes; ++t) ones[t] = lane_sample(first_quad, t) < range.end;
    block.for_each_cell([&](int64_t cell, const auto& masks) __attribute__((always_inline)) {
      lanes.add_where(cell, masks, ones);
    });
    lanes.end_block();
  });
  lanes.flush();
}

// Each sample adds its row of weights to the cells that it has. The width of a row is a template
// argument where it is small, so that the addition unrolls; 0: runtime.
template <int kWidth, class T>
TS_HD void jacobian_by_cell(const Noise<T>& noise, Range range, Sorting sorting, bool with_scale,
                            const T* x, double* table, T* scratch) {
  const int64_t n = noise.n;
  const int64_t width = kWidth ? kWidth : jacobian_width(n, with_scale);
  SortedBlock<T> block(n, sorting, scratch);
  const int64_t size = (sorting.positions() * n + 1) * width;
  T* const here = block.rest;             // [kLanes]: 1 for a sample of the range
  T* const rows = here + kLanes;          // [kQuads, width]
  T* const partial = rows + kQuads * width; // [2, size]: even and odd samples, so that one addition
                                          // need not wait for the one before
  for (int64_t k = 0; k < 2 * size; ++k) partial[k] = T(0);
  const auto flush = [&] {
    for (int64_t k = 0; k < size; ++k) {
      table[k] += static_cast<double>(partial[k]) + static_cast<double>(partial[size + k]);
      partial[k] = partial[size + k] = T(0);
    }
  };
  int64_t blocks = 0;
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    block.sort();
    const int64_t ones = block.to_cells(width);
    for (int t = 0; t < kLanes; ++t) here[t] = lane_sample(first_quad, t) < range.end ? T(1) : T(0);
    for (int first = 0; first < kLanes; first += kQuads) {
      for (int64_t c = 0; c < width; c += kQuads) {
        Vector<T> v[kQuads];
        for (int k = 0; k < kQuads; ++k) {
          const T* const source = block.column(c + k, with_scale, here);
          v[k] = source ? vector_at(source + first) : Vector<T>{};
        }
        transpose<T>(v);
        for (int t = 0; t < kQuads; ++t) vector_at(rows + t * width + c) = v[t];
      }
      const IndexOf<T>* const cells = block.index + first;
      for (int t = 0; t < kQuads; ++t) {
        const T* const row = rows + t * width;
        T* const half = partial + (t & 1) * size;
#pragma GCC unroll 4
        for (int64_t a = 0; a < ones; ++a) {
          T* const sum = half + cells[a * kLanes + t];
          for (int64_t c = 0; c < width; c += kQuads) vector_at(sum + c) += vector_at(row + c);
        }
      }
    }
    if (++blocks % kFlushBlocks == 0) flush();
  });
  flush();
}

// Adds a row of kWidth to sums[cell[t]] for each lane: entry c of lane t is column[c][t]. Even and
// odd lanes have sums of their own, `size` apart, so that one addition need not wait for the one
// before.
template <int kWidth, class T>
__attribute__((noinline)) static void add_rows(const T* const (&column)[kWidth],
                                               const IndexOf<T>* cell, T* sums, int64_t size) {
  for (int first = 0; first < kLanes; first += kQuads) {
#pragma GCC unroll 2
    for (int c = 0; c < kWidth; c += kQuads) {
      Vector<T> row[kQuads];
#pragma GCC unroll 8
      for (int k = 0; k < kQuads; ++k) row[k] = vector_at(column[c + k] + first);
      transpose<T>(row);
#pragma GCC unroll 8
      for (int t = 0; t < kQuads; ++t)
        vector_at(sums + (t & 1) * size + cell[first + t] + c) += row[t];
    }
  }
}

// Each sample adds its row of weights to that of its permutation, and these add up to the cells.
template <int kWidth, class T>
TS_HD void jacobian_by_permutation(const Noise<T>& noise, Range range, Sorting sorting,
                                   bool with_scale, const T* x, double* table, T* scratch) {
  const int64_t n = noise.n, positions = sorting.positions(), size = factorial(n) * kWidth;
  SortedBlock<T> block(n, sorting, scratch);
  T* const here = block.rest;        // [kLanes]: 1 for a sample of the range
  T* const nothing = here + kLanes;  // [kLanes]: 0
  T* const sums = nothing + kLanes;  // [2, size], see add_rows
  T* const cells = sums + 2 * size;  // [positions, n, kWidth]
  const int64_t cells_size = positions * n * kWidth;
  for (int64_t k = 0; k < kLanes + 2 * size; ++k) nothing[k] = T(0);  // sums, too
  const T* column[kWidth];
  for (int64_t c = 0; c < kWidth; ++c) {
    const T* const source = block.column(c, with_scale, here);
    column[c] = source ? source : nothing;
  }
  const auto flush = [&] {
    for (int64_t k = 0; k < cells_size; ++k) cells[k] = T(0);
    for (int64_t row = 0; row < size; row += kWidth) {
      if (sums[row + n] == T(0) && sums[size + row + n] == T(0)) continue;
      const uint8_t* const element = kPermutations.element[row / kWidth] + sorting.first;
#pragma GCC unroll 2
      for (int c = 0; c < kWidth; c += kQuads) {
        const Vector<T> total = vector_at(sums + row + c) + vector_at(sums + size + row + c);
        for (int64_t k = 0; k < positions; ++k)
          vector_at(cells + (k * n + element[k]) * kWidth + c) += total;
      }
    }
    for (int64_t k = 0; k < cells_size; ++k) table[k] += static_cast<double>(cells[k]);
  };
  int64_t blocks = 0;
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    if (sorting.descending) {
      block.template number_permutations<true>(kWidth);
    } else {
      block.template number_permutations<false>(kWidth);
    }
    for (int t = 0; t < kLanes; ++t) here[t] = lane_sample(first_quad, t) < range.end ? T(1) : T(0);
    add_rows<kWidth>(column, block.index, sums, size);
    if (++blocks % kFlushBlocks != 0) return;
    flush();
    for (int64_t k = 0; k < 2 * size; ++k) sums[k] = T(0);
  });
  flush();
}

template <class T>
void sort_matrix_jacobian(const Noise<T>& noise, Range range, Sorting sorting, bool scale,
                          const T* x, double* table, T* scratch) {
  const int64_t width = jacobian_width(noise.n, scale);
  if (noise.n <= kPermutationLimit && !sorting.only_first()) {
    if (width == 8) {
      jacobian_by_permutation<8>(noise, range, sorting, scale, x, table, scratch);
    } else {
      jacobian_by_permutation<16>(noise, range, sorting, scale, x, table, scratch);
    }
  } else if (width == 8) {
    jacobian_by_cell<8>(noise, range, sorting, scale, x, table, scratch);
  } else if (width == 16) {
    jacobian_by_cell<16>(noise, range, sorting, scale, x, table, scratch);
  } else {
    jacobian_by_cell<0>(noise, range, sorting, scale, x, table, scratch);
  }
}

// outcome - pivot, in place, and 0 in lanes behind the end of the range.
template <class T>
TS_HD void subtract_pivot(T* outcome, int64_t m, const T* pivot, int64_t first_quad, Range range) {
  const bool whole = is_whole(first_quad, range);
  for (int64_t k = 0; k < m; ++k) {
    T* const row = outcome + k * kLanes;
    const T center = pivot[k];
    for (int t = 0; t < kLanes; ++t) row[t] -= center;
    if (whole) continue;
    for (int t = 0; t < kLanes; ++t)
      row[t] = lane_sample(first_quad, t) < range.end ? row[t] : T(0);
  }
}

template <class T>
void sort_vector(const Noise<T>& noise, Range range, Sorting sorting, const T* x, const T* pivot,
                 double* sums, T* scratch) {
  SortedBlock<T> block(noise.n, sorting, scratch);
  const int64_t m = block.outcomes();
  LaneSums<T, double> lanes(m, block.rest, sums);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    T* const outcome = block.sorted_outcome();
    subtract_pivot(outcome, m, pivot, first_quad, range);
    for (int64_t k = 0; k < m; ++k) lanes.add(k, outcome + k * kLanes);
    lanes.end_block();
  });
  lanes.flush();
}

template <class T>
void sort_vector_jacobian(const Noise<T>& noise, Range range, Sorting sorting, bool scale,
                          const T* x, const T* pivot, double* table, T* scratch) {
  const int64_t n = noise.n, weights = scale ? 2 * n : n, columns = weights + 1;
  SortedBlock<T> block(n, sorting, scratch);
  const int64_t m = block.outcomes();
  LaneSums<T, double> lanes((m + 1) * columns, block.rest, table);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    T* const outcome = block.sorted_outcome();
    subtract_pivot(outcome, m, pivot, first_quad, range);
    for (int64_t k = 0; k < m; ++k) {
      for (int64_t c = 0; c < weights; ++c)
        lanes.add_product(k * columns + c, outcome + k * kLanes, block.weight + c * kLanes);
      lanes.add(k * columns + weights, outcome + k * kLanes);
    }
    for (int64_t c = 0; c < weights; ++c) lanes.add(m * columns + c, block.weight + c * kLanes);
    lanes.end_block();
  });
  lanes.flush();
}

// g[t] = sum of grad over the ones of lane t's matrix.
template <class T>
TS_HD void contract_matrix(SortedBlock<T>& block, const T* grad, T* g) {
  if (block.counted) {
    block.for_each_cell([&](int64_t cell, const auto& masks) __attribute__((always_inline)) {
      const Vector<T> value = broadcast(grad[cell]);
      for (int c = 0; c < kLanes / kQuads; ++c)
        vector_at(g + c * kQuads) += where<T>(masks[c], value);
    });
  } else {
    const int64_t ones = block.to_cells(1);
    for (int64_t a = 0; a < ones; ++a) {
      for (int t = 0; t < kLanes; ++t) g[t] += grad[block.index[a * kLanes + t]];
    }
  }
}

template <class T>
void sort_backward(const Noise<T>& noise, Range range, Sorting sorting, bool scale, const T* x,
                   const T* pivot, const T* grad, T baseline, double* sums, T* scratch) {
  const int64_t n = noise.n, weights = scale ? 2 * n : n;
  SortedBlock<T> block(n, sorting, scratch);
  LaneSums<T, double> lanes(weights, block.rest, sums);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    T g[kLanes];
    for (int t = 0; t < kLanes; ++t) g[t] = T(0);
    if (sorting.output == SortOutput::matrix) {
      block.sort();
      contract_matrix(block, grad, g);
    } else {
      T* const outcome = block.sorted_outcome();
      const int64_t m = block.outcomes();
      subtract_pivot(outcome, m, pivot, first_quad, range);
      for (int64_t k = 0; k < m; ++k) {
        const T* const row = outcome + k * kLanes;
        const T value = grad[k];
        for (int t = 0; t < kLanes; ++t) g[t] = fused(value, row[t], g[t]);
      }
    }
    for (int t = 0; t < kLanes; ++t) g[t] -= baseline;
    for (int64_t c = 0; c < weights; ++c) lanes.add_product(c, g, block.weight + c * kLanes);
    lanes.end_block();
  });
  lanes.flush();
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
