#pragma once

#include "../../core/functions/sort.h"
#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Integers as wide as the keys, so that a lane holds both.
template <class T>
struct IndexOf;
template <>
struct IndexOf<float> {
  using type = int32_t;
};
template <>
struct IndexOf<double> {
  using type = int64_t;
};

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

// Sorts the lanes of y; index becomes the element of each position.
template <class T, class Index>
TS_HD void sort_with_index(int64_t n, bool descending, T* y, Index* index) {
  for (int64_t j = 0; j < n; ++j) {
    for (int t = 0; t < kLanes; ++t) index[j * kLanes + t] = static_cast<Index>(j);
  }
  for_each_comparator(n, [&](int64_t i, int64_t j) __attribute__((always_inline)) {
    T* const ya = y + i * kLanes;
    T* const yb = y + j * kLanes;
    Index* const ia = index + i * kLanes;
    Index* const ib = index + j * kLanes;
    TS_LANES
    for (int t = 0; t < kLanes; ++t) {
      const T a = ya[t], b = yb[t];
      const Index p = ia[t], q = ib[t];
      const bool exchange = out_of_order(a, p, b, q, descending);
      ya[t] = exchange ? b : a;
      yb[t] = exchange ? a : b;
      ia[t] = exchange ? q : p;
      ib[t] = exchange ? p : q;
    }
  });
}

// Sorts the lanes of y, where nobody asks which element a value came from.
template <class T>
TS_HD void sort_values(int64_t n, bool descending, T* y) {
  for_each_comparator(n, [&](int64_t i, int64_t j) __attribute__((always_inline)) {
    T* const low = y + (descending ? j : i) * kLanes;
    T* const high = y + (descending ? i : j) * kLanes;
    TS_LANES
    for (int t = 0; t < kLanes; ++t) {
      const T a = low[t], b = high[t];
      low[t] = a < b ? a : b;
      high[t] = a < b ? b : a;
    }
  });
}

// Perturbs and sorts one block; scratch holds [n, kLanes] each of y, index, score, scale weights.
template <class T>
struct SortedBlock {
  using Index = typename IndexOf<T>::type;

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
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = j * kLanes;
      block_weights<T>(noise, range.element, j, first_quad, y + row, weight + row,
                       weight + n * kLanes + row);
      const T s = noise.scale_at(range.element, j), center = x[j];
      for (int t = 0; t < kLanes; ++t) y[row + t] = fused(s, y[row + t], center);
    }
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
    } else {
      sort_with_index(n, sorting.descending, y, index);
    }
  }

  // Calls one(cell, t) for each 1 in the matrix of lane t, the cell counted in [position, element].
  // Ones at positions that are not wanted have the cell behind the last.
  template <class F>
  TS_HD void for_each_one(int t, F&& one) const {
    const int64_t positions = sorting.positions();
    if (counted) {
      for (int64_t i = 0; i < n; ++i) {
        const int64_t k = static_cast<int64_t>(index[i * kLanes + t]) - sorting.first;
        one(k >= 0 && k < positions ? k * n + i : positions * n);
      }
    } else {
      for (int64_t k = 0; k < positions; ++k)
        one(k * n + static_cast<int64_t>(index[(sorting.first + k) * kLanes + t]));
    }
  }

  // For values and ranks: the outcomes [m, kLanes] of the lanes.
  TS_HD T* sorted_outcome() {
    if (sorting.output == SortOutput::values) {
      sort_values(n, sorting.descending, y);
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
  SortedBlock<T> block(noise.n, sorting, scratch);
  for_each_block(range, [&](int64_t first_quad) {
    block.draw(noise, range, first_quad, x);
    block.sort();
    for (int t = 0; t < kLanes; ++t) {
      if (lane_sample(first_quad, t) >= range.end) continue;
      block.for_each_one(t, [&](int64_t cell) { ++counts[cell]; });
    }
  });
}

// width is a template argument where it is small, so that a row's addition unrolls; 0: runtime.
template <int kWidth, class T>
TS_HD void matrix_jacobian_blocks(const Noise<T>& noise, Range range, Sorting sorting,
                                  bool with_scale, const T* x, double* table, T* scratch) {
  const int64_t n = noise.n;
  const int64_t width = kWidth ? kWidth : jacobian_width(n, with_scale);
  SortedBlock<T> block(n, sorting, scratch);
  const int64_t size = (sorting.positions() * n + 1) * width;
  T* rows = block.rest;               // [kLanes, width]
  T* partial = rows + kLanes * width; // [2, size]: even and odd samples, so that one addition need
                                      // not wait for the one before
  for (int64_t k = 0; k < 2 * size; ++k) partial[k] = T(0);
  for (int64_t k = 0; k < kLanes * width; ++k) rows[k] = T(0);
  for (int t = 0; t < kLanes; ++t) rows[t * width + n] = T(1);
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
    for (int64_t j = 0; j < n; ++j) {
      const T* const score = block.weight + j * kLanes;
      for (int t = 0; t < kLanes; ++t) rows[t * width + j] = score[t];
      if (with_scale) {
        const T* const scale = score + n * kLanes;
        for (int t = 0; t < kLanes; ++t) rows[t * width + n + 1 + j] = scale[t];
      }
    }
    for (int t = 0; t < kLanes; ++t) {
      if (lane_sample(first_quad, t) >= range.end) continue;
      const T* row = rows + t * width;
      T* const half = partial + (t & 1) * size;
      block.for_each_one(t, [&](int64_t cell) __attribute__((always_inline)) {
        T* sum = half + cell * width;
        TS_LANES
        for (int64_t c = 0; c < width; ++c) sum[c] += row[c];
      });
    }
    if (++blocks % kFlushBlocks == 0) flush();
  });
  flush();
}

template <class T>
void sort_matrix_jacobian(const Noise<T>& noise, Range range, Sorting sorting, bool scale,
                          const T* x, double* table, T* scratch) {
  const int64_t width = jacobian_width(noise.n, scale);
  if (width == 8) {
    matrix_jacobian_blocks<8>(noise, range, sorting, scale, x, table, scratch);
  } else if (width == 16) {
    matrix_jacobian_blocks<16>(noise, range, sorting, scale, x, table, scratch);
  } else {
    matrix_jacobian_blocks<0>(noise, range, sorting, scale, x, table, scratch);
  }
}

// Sums of T over the lanes of many blocks, kept kQuads at a time, and flushed into doubles.
template <class T>
struct LaneSums {
  int64_t size;
  T* partial;  // [size, kQuads]
  double* sums;
  int64_t blocks = 0;

  TS_HD LaneSums(int64_t size, T* partial, double* sums)
      : size(size), partial(partial), sums(sums) {
    for (int64_t k = 0; k < size * kQuads; ++k) partial[k] = T(0);
  }

  // Adds the sum of a[t] * b[t].
  TS_HD void add_product(int64_t k, const T* a, const T* b) {
    T* const sum = partial + k * kQuads;
    T part[kQuads];
    for (int l = 0; l < kQuads; ++l) part[l] = sum[l];
    for (int c = 0; c < kLanes; c += kQuads) {
      for (int l = 0; l < kQuads; ++l) part[l] = fused(a[c + l], b[c + l], part[l]);
    }
    for (int l = 0; l < kQuads; ++l) sum[l] = part[l];
  }
  TS_HD void add(int64_t k, const T* a) {
    T* const sum = partial + k * kQuads;
    for (int c = 0; c < kLanes; c += kQuads) {
      for (int l = 0; l < kQuads; ++l) sum[l] += a[c + l];
    }
  }
  TS_HD void end_block() {
    if (++blocks % kFlushBlocks == 0) flush();
  }
  TS_HD void flush() {
    for (int64_t k = 0; k < size; ++k) {
      T* const sum = partial + k * kQuads;
      for (int l = 0; l < kQuads; ++l) {
        sums[k] += static_cast<double>(sum[l]);
        sum[l] = T(0);
      }
    }
  }
};

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
  LaneSums<T> lanes(m, block.rest, sums);
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
  LaneSums<T> lanes((m + 1) * columns, block.rest, table);
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
TS_HD void contract_matrix(const SortedBlock<T>& block, const T* grad, T* g) {
  const int64_t n = block.n, positions = block.sorting.positions();
  if (block.counted && n <= 8) {
    // A row of grad is so short that selecting beats gathering.
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < positions; ++k) {
        const T value = grad[k * n + i];
        const auto rank = static_cast<typename SortedBlock<T>::Index>(block.sorting.first + k);
        TS_LANES
        for (int t = 0; t < kLanes; ++t)
          g[t] += block.index[i * kLanes + t] == rank ? value : T(0);
      }
    }
  } else {
    for (int t = 0; t < kLanes; ++t) {
      block.for_each_one(t, [&](int64_t cell) {
        if (cell < positions * n) g[t] += grad[cell];
      });
    }
  }
}

template <class T>
void sort_backward(const Noise<T>& noise, Range range, Sorting sorting, bool scale, const T* x,
                   const T* pivot, const T* grad, T baseline, double* sums, T* scratch) {
  const int64_t n = noise.n, weights = scale ? 2 * n : n;
  SortedBlock<T> block(n, sorting, scratch);
  LaneSums<T> lanes(weights, block.rest, sums);
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
