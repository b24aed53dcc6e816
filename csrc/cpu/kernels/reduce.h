#pragma once

#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Noise and score without the pair correction; flip = ~0 gives those of the mirror images.
template <class T>
__attribute__((noinline)) static void word_draws(const Noise<T>& noise,
                                                 const uint32_t (&word)[kBlock], uint32_t flip,
                                                 T* epsilon, T* score) {
  with_law(noise.law, [&](auto law) __attribute__((always_inline)) {
    TS_LANES
    for (int t = 0; t < kBlock; ++t) {
      const Draw<T> draw = law.draw(uniform_from_word<T>(word[t] ^ flip));
      epsilon[t] = draw.noise;
      score[t] = draw.score;
    }
  });
}

// Sums of (value - pivot) * weight over the samples of a range, one row of columns for each weight.
// `load(first_quad)` prepares a block's values, `add(weight, row)` adds its products, `end()` ends it.

// Few columns: samples are the vector.
template <class T>
struct ColumnSums {
  Range range;
  int64_t m;
  const T* values;
  const T* pivot;
  T* column;  // values - pivot, and 1; 0 outside the range
  BlockSums<T, double> block_sums;

  TS_HD ColumnSums(Range range, int64_t m, int64_t weights, const T* values, const T* pivot,
                   double* sums, const ReduceScratch<T>& scratch)
      : range(range),
        m(m),
        values(values),
        pivot(pivot),
        column(scratch.column),
        block_sums(weights * (m + 1), scratch.partial, sums) {}

  TS_HD void load(int64_t first_quad) {
    for (int t = 0; t < kBlock; ++t) {
      const int64_t i = block_sample(first_quad, t);
      const bool inside = i >= range.begin && i < range.end;
      const T* const row = values + (inside ? i - range.begin : 0) * m;
      for (int64_t c = 0; c < m; ++c) column[c * kBlock + t] = inside ? row[c] - pivot[c] : T(0);
      column[m * kBlock + t] = inside ? T(1) : T(0);
    }
  }
  TS_HD void add(const T* weight, int64_t row) {
    for (int64_t c = 0; c <= m; ++c)
      block_sums.add_product(row * (m + 1) + c, column + c * kBlock, weight);
  }
  TS_HD void end() { block_sums.end_block(); }
  TS_HD void flush() { block_sums.flush(); }
};

// Many columns: they are the vector.
template <class T>
struct RowSums {
  Range range;
  int64_t m;
  int64_t size;
  const T* values;
  const T* pivot;
  T* partial;
  double* sums;
  int64_t first_quad = 0;
  int64_t blocks = 0;

  TS_HD RowSums(Range range, int64_t m, int64_t weights, const T* values, const T* pivot,
                double* sums, const ReduceScratch<T>& scratch)
      : range(range),
        m(m),
        size(weights * (m + 1)),
        values(values),
        pivot(pivot),
        partial(scratch.partial),
        sums(sums) {
    for (int64_t k = 0; k < size; ++k) partial[k] = T(0);
  }

  TS_HD void load(int64_t first) { first_quad = first; }
  TS_HD void add(const T* weight, int64_t row) {
    T* const sum = partial + row * (m + 1);
    for (int t = 0; t < kBlock; ++t) {
      const int64_t i = block_sample(first_quad, t);
      if (i < range.begin || i >= range.end) continue;
      const T* value = values + (i - range.begin) * m;
      TS_LANES
      for (int64_t c = 0; c < m; ++c) sum[c] = fused(value[c] - pivot[c], weight[t], sum[c]);
      sum[m] += weight[t];
    }
  }
  TS_HD void end() {
    if (++blocks % kFlushBlocks == 0) flush();
  }
  TS_HD void flush() {
    for (int64_t k = 0; k < size; ++k) {
      sums[k] += partial[k];
      partial[k] = T(0);
    }
  }
};

template <class T, class Sums>
TS_HD void reduce_blocks(const Noise<T>& noise, Range range, Moment moment, Sums& sums,
                         const ReduceScratch<T>& scratch) {
  const int64_t n = noise.n;
  const bool pairs = noise.pair_weight != T(0);
  T* const score = scratch.score;
  T* const scale = scratch.scale;
  T* const mirror_noise = scratch.mirror_noise;
  T* const mirror_score = scratch.mirror_score;
  T* const weight = scratch.weight;
  for_each_block(range, [&](int64_t first_quad) {
    sums.load(first_quad);
    const auto add = [&](int64_t j, const uint32_t(&word)[kBlock]) {
      const int64_t row = j * kBlock;
      word_weights<T>(noise, word, weight, score + row, scale + row);
      sums.add(score + row, j);
      if (moment == Moment::diagonal) sums.add(scale + row, n + j);
      if (moment != Moment::outer) return;
      word_draws<T>(noise, word, 0, scale + row, score + row);
      if (pairs) word_draws<T>(noise, word, ~0u, mirror_noise + row, mirror_score + row);
    };
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad, add);
    if (moment == Moment::outer) {
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          const T diagonal = i == j ? T(1) : T(0);
          for (int t = 0; t < kBlock; ++t) {
            const T h = score[i * kBlock + t] * scale[j * kBlock + t] - diagonal;
            const T other =
                pairs ? mirror_score[i * kBlock + t] * mirror_noise[j * kBlock + t] - diagonal
                      : T(0);
            weight[t] = pairs ? fused(noise.pair_weight, h + other, h) : h;
          }
          sums.add(weight, n + i * n + j);
        }
      }
    }
    sums.end();
  });
  sums.flush();
}

template <class T>
void reduce(const Noise<T>& noise, Range range, Moment moment, int64_t m, const T* values,
            const T* pivot, double* sums, const ReduceScratch<T>& scratch) {
  const int64_t n = noise.n, weights = n + moment_size(moment, n);
  if (columns_are_few(m, weights)) {
    ColumnSums<T> columns(range, m, weights, values, pivot, sums, scratch);
    reduce_blocks(noise, range, moment, columns, scratch);
  } else {
    RowSums<T> rows(range, m, weights, values, pivot, sums, scratch);
    reduce_blocks(noise, range, moment, rows, scratch);
  }
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
