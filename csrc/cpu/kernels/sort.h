#pragma once

#include "../../core/algorithms/sort.h"
#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Calls exchange(i, j), i < j, for every comparator of the sorting network.
template <class F>
TS_HD void for_each_comparator(int64_t n, F&& exchange) {
  for_each_stage(n, [&](Stage stage) __attribute__((always_inline)) {
    for (int64_t i = 0; i + stage.d < n; ++i) {
      if ((i & stage.p) == stage.r) exchange(i, i + stage.d);
    }
  });
}

// Sorts every row of y; index becomes the element of each position. A function, not inlined: GCC
// does not keep the vectors of a comparator in registers where much else is alive.
template <bool kDescending, class T>
__attribute__((noinline)) static void sort_with_index(int64_t n, T* y, BitsOf<T>* index) {
  for (int64_t j = 0; j < n; ++j) {
    for (int t = 0; t < kBlock; ++t) index[j * kBlock + t] = static_cast<BitsOf<T>>(j);
  }
  for_each_comparator(n, [&](int64_t i, int64_t j) __attribute__((always_inline)) {
    for (int t = 0; t < kBlock; t += kQuads) {
      const Vector<T> a = vector_at(y + i * kBlock + t), b = vector_at(y + j * kBlock + t);
      const Mask<T> p = vector_at(index + i * kBlock + t), q = vector_at(index + j * kBlock + t);
      const Mask<T> exchange = out_of_order(a, p, b, q, kDescending);
      vector_at(y + i * kBlock + t) = exchange ? b : a;
      vector_at(y + j * kBlock + t) = exchange ? a : b;
      vector_at(index + i * kBlock + t) = exchange ? q : p;
      vector_at(index + j * kBlock + t) = exchange ? p : q;
    }
  });
}

// Sorts every row of y, where nobody asks which element a value came from.
template <bool kDescending, class T>
__attribute__((noinline)) static void sort_values(int64_t n, T* y) {
  for_each_comparator(n, [&](int64_t i, int64_t j) __attribute__((always_inline)) {
    T* const low = y + (kDescending ? j : i) * kBlock;
    T* const high = y + (kDescending ? i : j) * kBlock;
    for (int t = 0; t < kBlock; t += kQuads) {
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

// Perturbs and sorts one block of rows, a sample each.
template <class T>
struct SortedBlock {
  using Index = BitsOf<T>;

  int64_t n;
  Sorting sorting;
  bool counted;  // index is the position of each element, else the element of each position
  T* y;
  Index* index;
  T* weight;

  TS_HD SortedBlock(int64_t n, Sorting sorting, const SortScratch<T>& scratch)
      : n(n),
        sorting(sorting),
        counted(positions_are_counted(n, sorting)),
        y(scratch.y),
        index(scratch.index),
        weight(scratch.weight) {}

  // Slots behind the end of the range get weights of 0.
  TS_HD void draw(const Noise<T>& noise, Range range, int64_t first_quad, const T* x) {
    const auto perturb_one = [&](int64_t j, const uint32_t(&word)[kBlock]) {
      const int64_t row = j * kBlock;
      word_weights<T>(noise, word, y + row, weight + row, weight + n * kBlock + row);
      const T s = noise.scale_at(range.element, j), center = x[j];
      for (int t = 0; t < kBlock; ++t) y[row + t] = fused(s, y[row + t], center);
    };
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad, perturb_one);
    if (is_whole(first_quad, range)) return;
    for (int64_t j = 0; j < 2 * n; ++j) {
      for (int t = 0; t < kBlock; ++t)
        weight[j * kBlock + t] =
            block_sample(first_quad, t) < range.end ? weight[j * kBlock + t] : T(0);
    }
  }

  // For a matrix: afterwards index says where its ones are.
  TS_HD void sort() {
    if (sorting.only_first()) {
      find_first<kBlock>(y, n, sorting.descending, index);
    } else if (counted) {
      rank_by_counting<kBlock>(y, static_cast<int>(n), sorting.descending, index);
    } else if (sorting.descending) {
      sort_with_index<true>(n, y, index);
    } else {
      sort_with_index<false>(n, y, index);
    }
  }

  // Instead of sorting few elements: index becomes the number of each row's permutation, times
  // stride. See Permutations.
  template <bool kDescending>
  TS_HD void number_permutations(int64_t stride) {
    Mask<T> number[kBlock / kQuads] = {};
    for (int64_t b = n - 1; b > 0; --b) {
      Mask<T> overtaken[kBlock / kQuads] = {};
      for (int64_t a = 0; a < b; ++a) {
        for (int c = 0; c < kBlock / kQuads; ++c) {
          const Vector<T> later = vector_at(y + b * kBlock + c * kQuads);
          const Vector<T> earlier = vector_at(y + a * kBlock + c * kQuads);
          overtaken[c] -= kDescending ? later > earlier : later < earlier;
        }
      }
      for (int c = 0; c < kBlock / kQuads; ++c)
        number[c] = number[c] * static_cast<Index>(b + 1) + overtaken[c];
    }
    for (int c = 0; c < kBlock / kQuads; ++c)
      vector_at(index + c * kQuads) = number[c] * static_cast<Index>(stride);
  }

  // For few elements: calls cell(c, masks) for each cell of the matrix, counted in [position,
  // element], with masks of the samples that have a 1 there.
  template <class F>
  TS_HD void for_each_cell(F&& cell) const {
    for (int64_t k = 0; k < sorting.positions(); ++k) {
      const Index position = static_cast<Index>(sorting.first + k);
      for (int64_t i = 0; i < n; ++i) {
        // Aligned: the type of a reference to it forgets that a Vector need not be.
        alignas(sizeof(Mask<T>)) Mask<T> masks[kBlock / kQuads];
        for (int c = 0; c < kBlock / kQuads; ++c)
          masks[c] = vector_at(index + i * kBlock + c * kQuads) == position;
        cell(k * n + i, masks);
      }
    }
  }

  // How many ones a sample's matrix may have, see `ones`.
  TS_HD int64_t num_ones() const { return counted ? n : sorting.positions(); }
  // [num_ones, kBlock]: the cells of the ones of each sample's matrix, of `stride` entries each.
  // Those of one a are counted from cell a * ones_apart() on, so that 32 bits hold them. Ones at
  // positions that are not wanted get the cell behind the last.
  TS_HD const Index* ones(int64_t stride) {
    const Index by = static_cast<Index>(stride);
    if (!counted) {
      Index* const entries = index + sorting.first * kBlock;
      if (stride == 1) return entries;
      for (int64_t k = 0; k < sorting.positions() * kBlock; k += kQuads)
        vector_at(entries + k) *= by;
      return entries;
    }
    const Index positions = static_cast<Index>(sorting.positions());
    const Index first = static_cast<Index>(sorting.first);
    const Mask<T> none = broadcast<Index>(positions * static_cast<Index>(n) * by);
    for (int64_t i = 0; i < n; ++i) {
      for (int t = 0; t < kBlock; t += kQuads) {
        Mask<T>& entry = vector_at(index + i * kBlock + t);
        const Mask<T> k = entry - first;
        const Mask<T> wanted = (k >= 0) & (k < positions);
        const Mask<T> cell = (k * static_cast<Index>(n) + static_cast<Index>(i)) * by;
        entry = wanted ? cell : none;
      }
    }
    return index;
  }
  TS_HD int64_t ones_apart() const { return counted ? 0 : n; }

  // Column c of the samples' rows of weights: scores, 1 (for those that are `present`), scale
  // weights; null behind these.
  TS_HD const T* column(int64_t c, bool with_scale, const T* present) const {
    if (c < n) return weight + c * kBlock;
    if (c == n) return present;
    return with_scale && c <= 2 * n ? weight + (c - 1) * kBlock : nullptr;
  }

  // For values and ranks: the outcomes [m, kBlock] of the samples.
  TS_HD T* sorted_outcome() {
    if (sorting.output == SortOutput::values) {
      if (sorting.descending) {
        sort_values<true>(n, y);
      } else {
        sort_values<false>(n, y);
      }
      return y + sorting.first * kBlock;
    }
    sort();
    if (counted) {
      TS_LANES
      for (int64_t k = 0; k < n * kBlock; ++k) y[k] = static_cast<T>(index[k] + 1);
    } else {
      for (int64_t k = 0; k < n; ++k) {
        for (int t = 0; t < kBlock; ++t) y[index[k * kBlock + t] * kBlock + t] = static_cast<T>(k + 1);
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
                 const SortMatrixScratch<T>& scratch) {
  SortedBlock<T> block(noise.n, sorting, scratch.block);
  if (!block.counted) {
    const int64_t num_ones = block.num_ones(), apart = block.ones_apart();
    for_each_block(range, [&](int64_t first_quad) {
      block.draw(noise, range, first_quad, x);
      block.sort();
      const BitsOf<T>* one = block.ones(1);
      uint32_t* row = counts;
      for (int64_t a = 0; a < num_ones; ++a, one += kBlock, row += apart) {
        for (int t = 0; t < kBlock; ++t) row[one[t]] += block_sample(first_quad, t) < range.end;
      }
    });
    return;
  }
  BitsOf<T>* const present = scratch.present;
  BlockSums<BitsOf<T>, uint32_t> sums(sorting.positions() * noise.n, scratch.partial, counts);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    block.sort();
    for (int t = 0; t < kBlock; ++t) present[t] = block_sample(first_quad, t) < range.end;
    block.for_each_cell([&](int64_t cell, const auto& masks) __attribute__((always_inline)) {
      sums.add_where(cell, masks, present);
    });
    sums.end_block();
  });
  sums.flush();
}

// Each sample adds its row of weights to the cells that it has. The width of a row is a template
// argument where it is small, so that the addition unrolls; 0: runtime.
template <int kWidth, class T>
TS_HD void jacobian_by_cell(const Noise<T>& noise, Range range, Sorting sorting, bool with_scale,
                            const T* x, double* table,
                            const SortMatrixJacobianScratch<T>& scratch) {
  const int64_t n = noise.n;
  const int64_t width = kWidth ? kWidth : jacobian_width(n, with_scale);
  SortedBlock<T> block(n, sorting, scratch.block);
  const int64_t size = (sorting.positions() * n + 1) * width;
  const int64_t apart = block.ones_apart() * width, num_ones = block.num_ones();
  T* const present = scratch.present;
  T* const rows = scratch.rows;
  T* const partial = scratch.partial;
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
    const BitsOf<T>* const ones = block.ones(width);
    for (int t = 0; t < kBlock; ++t)
      present[t] = block_sample(first_quad, t) < range.end ? T(1) : T(0);
    for (int first = 0; first < kBlock; first += kQuads) {
      for (int64_t c = 0; c < width; c += kQuads) {
        Vector<T> v[kQuads];
        for (int k = 0; k < kQuads; ++k) {
          const T* const source = block.column(c + k, with_scale, present);
          v[k] = source ? vector_at(source + first) : Vector<T>{};
        }
        transpose<T>(v);
        for (int t = 0; t < kQuads; ++t) vector_at(rows + t * width + c) = v[t];
      }
      for (int t = 0; t < kQuads; ++t) {
        const BitsOf<T>* const one = ones + first + t;
        const T* const row = rows + t * width;
        T* half = partial + (t & 1) * size;
#pragma GCC unroll 4
        for (int64_t a = 0; a < num_ones; ++a, half += apart) {
          T* const sum = half + one[a * kBlock];
          for (int64_t c = 0; c < width; c += kQuads) vector_at(sum + c) += vector_at(row + c);
        }
      }
    }
    if (++blocks % kFlushBlocks == 0) flush();
  });
  flush();
}

// Adds a row of kWidth to sums[cell[t]] for each slot t: its entry c is column[c][t]. Even and odd
// slots have sums of their own, `size` apart.
template <int kWidth, class T>
__attribute__((noinline)) static void add_rows(const T* const (&column)[kWidth],
                                               const BitsOf<T>* cell, T* sums, int64_t size) {
  for (int first = 0; first < kBlock; first += kQuads) {
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
                                   bool with_scale, const T* x, double* table,
                                   const SortMatrixJacobianScratch<T>& scratch) {
  const int64_t n = noise.n, positions = sorting.positions(), size = factorial(n) * kWidth;
  SortedBlock<T> block(n, sorting, scratch.block);
  T* const present = scratch.present;
  T* const zeros = scratch.zeros;
  T* const sums = scratch.partial;
  T* const cells = scratch.cells;
  const int64_t cells_size = positions * n * kWidth;
  for (int t = 0; t < kBlock; ++t) zeros[t] = T(0);
  for (int64_t k = 0; k < 2 * size; ++k) sums[k] = T(0);
  const T* column[kWidth];
  for (int64_t c = 0; c < kWidth; ++c) {
    const T* const source = block.column(c, with_scale, present);
    column[c] = source ? source : zeros;
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
    for (int t = 0; t < kBlock; ++t)
      present[t] = block_sample(first_quad, t) < range.end ? T(1) : T(0);
    add_rows<kWidth>(column, block.index, sums, size);
    if (++blocks % kFlushBlocks != 0) return;
    flush();
    for (int64_t k = 0; k < 2 * size; ++k) sums[k] = T(0);
  });
  flush();
}

template <class T>
void sort_matrix_jacobian(const Noise<T>& noise, Range range, Sorting sorting, bool scale,
                          const T* x, double* table,
                          const SortMatrixJacobianScratch<T>& scratch) {
  const int64_t width = jacobian_width(noise.n, scale);
  if (permutations_are_few(noise.n, sorting)) {
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

// outcome - pivot, in place, and 0 in slots behind the end of the range.
template <class T>
TS_HD void subtract_pivot(T* outcome, int64_t m, const T* pivot, int64_t first_quad, Range range) {
  const bool whole = is_whole(first_quad, range);
  for (int64_t k = 0; k < m; ++k) {
    T* const row = outcome + k * kBlock;
    const T center = pivot[k];
    for (int t = 0; t < kBlock; ++t) row[t] -= center;
    if (whole) continue;
    for (int t = 0; t < kBlock; ++t)
      row[t] = block_sample(first_quad, t) < range.end ? row[t] : T(0);
  }
}

template <class T>
void sort_vector(const Noise<T>& noise, Range range, Sorting sorting, const T* x, const T* pivot,
                 double* sums, const SortVectorScratch<T>& scratch) {
  SortedBlock<T> block(noise.n, sorting, scratch.block);
  const int64_t m = block.outcomes();
  BlockSums<T, double> block_sums(m, scratch.partial, sums);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    T* const outcome = block.sorted_outcome();
    subtract_pivot(outcome, m, pivot, first_quad, range);
    for (int64_t k = 0; k < m; ++k) block_sums.add(k, outcome + k * kBlock);
    block_sums.end_block();
  });
  block_sums.flush();
}

template <class T>
void sort_vector_jacobian(const Noise<T>& noise, Range range, Sorting sorting, bool scale,
                          const T* x, const T* pivot, double* table,
                          const SortVectorScratch<T>& scratch) {
  const int64_t n = noise.n, weights = scale ? 2 * n : n, columns = weights + 1;
  SortedBlock<T> block(n, sorting, scratch.block);
  const int64_t m = block.outcomes();
  BlockSums<T, double> block_sums((m + 1) * columns, scratch.partial, table);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    T* const outcome = block.sorted_outcome();
    subtract_pivot(outcome, m, pivot, first_quad, range);
    for (int64_t k = 0; k < m; ++k) {
      for (int64_t c = 0; c < weights; ++c)
        block_sums.add_product(k * columns + c, outcome + k * kBlock, block.weight + c * kBlock);
      block_sums.add(k * columns + weights, outcome + k * kBlock);
    }
    for (int64_t c = 0; c < weights; ++c) block_sums.add(m * columns + c, block.weight + c * kBlock);
    block_sums.end_block();
  });
  block_sums.flush();
}

// g[t] = sum of grad over the ones of the matrix of slot t.
template <class T>
TS_HD void contract_matrix(SortedBlock<T>& block, const T* grad, T* g) {
  if (block.counted) {
    block.for_each_cell([&](int64_t cell, const auto& masks) __attribute__((always_inline)) {
      const Vector<T> value = broadcast(grad[cell]);
      for (int c = 0; c < kBlock / kQuads; ++c)
        vector_at(g + c * kQuads) += where<T>(masks[c], value);
    });
  } else {
    const BitsOf<T>* one = block.ones(1);
    const T* row = grad;
    const int64_t num_ones = block.num_ones(), apart = block.ones_apart();
    for (int64_t a = 0; a < num_ones; ++a, one += kBlock, row += apart) {
      for (int t = 0; t < kBlock; ++t) g[t] += row[one[t]];
    }
  }
}

template <class T>
void sort_backward(const Noise<T>& noise, Range range, Sorting sorting, bool scale, const T* x,
                   const T* pivot, const T* grad, T baseline, double* sums,
                   const SortVectorScratch<T>& scratch) {
  const int64_t n = noise.n, weights = scale ? 2 * n : n;
  SortedBlock<T> block(n, sorting, scratch.block);
  BlockSums<T, double> block_sums(weights, scratch.partial, sums);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    T g[kBlock];
    for (int t = 0; t < kBlock; ++t) g[t] = T(0);
    if (sorting.output == SortOutput::matrix) {
      block.sort();
      contract_matrix(block, grad, g);
    } else {
      T* const outcome = block.sorted_outcome();
      const int64_t m = block.outcomes();
      subtract_pivot(outcome, m, pivot, first_quad, range);
      for (int64_t k = 0; k < m; ++k) {
        const T* const row = outcome + k * kBlock;
        const T value = grad[k];
        for (int t = 0; t < kBlock; ++t) g[t] = fused(value, row[t], g[t]);
      }
    }
    for (int t = 0; t < kBlock; ++t) g[t] -= baseline;
    for (int64_t c = 0; c < weights; ++c) block_sums.add_product(c, g, block.weight + c * kBlock);
    block_sums.end_block();
  });
  block_sums.flush();
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
