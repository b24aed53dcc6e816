#pragma once

#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Noise and score without the pair correction; flip = ~0 gives those of the mirror images.
template <class T>
__attribute__((noinline)) static void block_draws(const Noise<T>& noise, int64_t element,
                                                  int64_t j, int64_t first_quad, uint32_t flip,
                                                  T* epsilon, T* score) {
  uint32_t word[kLanes];
  block_words(noise.points, *noise.seed, element, j, first_quad, word);
  with_law(noise.law, [&](auto law) __attribute__((always_inline)) {
    TS_LANES
    for (int t = 0; t < kLanes; ++t) {
      const Draw<T> draw = law.draw(uniform_from_word<T>(word[t] ^ flip));
      epsilon[t] = draw.noise;
      score[t] = draw.score;
    }
  });
}

template <class T>
void reduce(const Noise<T>& noise, Range range, Moment moment, int64_t m, const T* values,
            const T* pivot, double* sums, T* scratch) {
  const int64_t n = noise.n, columns = m + 1;
  const int64_t moments = moment == Moment::none ? 0 : moment == Moment::diagonal ? n : n * n;
  const bool outer = moment == Moment::outer, pairs = noise.pair_weight != T(0);
  T* score = scratch;                  // [n, kLanes]
  T* scale = score + n * kLanes;       // [n, kLanes]: scale weights, or for outer the noise
  T* mirror = scale + n * kLanes;      // [2, n, kLanes]: noise and score of the mirror images
  T* weight = mirror + 2 * n * kLanes; // [kLanes]
  T* partial = weight + kLanes;        // [n + moments, columns]

  const auto clear = [&] {
    for (int64_t k = 0; k < (n + moments) * columns; ++k) partial[k] = T(0);
  };
  const auto flush = [&] {
    for (int64_t k = 0; k < (n + moments) * columns; ++k) sums[k] += partial[k];
    clear();
  };

  // Adds this block's products with one weight to one row of the partial sums.
  const auto accumulate = [&](const T* w, T* row, int64_t first_quad) {
    if (columns > 16) {
      // Many columns: they are the vector.
      for (int t = 0; t < kLanes; ++t) {
        const int64_t i = lane_sample(first_quad, t);
        if (i < range.begin || i >= range.end) continue;
        const T* value = values + (i - range.begin) * m;
        TS_LANES
        for (int64_t c = 0; c < m; ++c) row[c] = fused(value[c] - pivot[c], w[t], row[c]);
        row[m] += w[t];
      }
    } else {
      T column[kLanes];
      for (int64_t c = 0; c < columns; ++c) {
        for (int t = 0; t < kLanes; ++t) {
          const int64_t i = lane_sample(first_quad, t);
          const bool inside = i >= range.begin && i < range.end;
          column[t] = !inside ? T(0)
                      : c == m ? T(1)
                               : values[(i - range.begin) * m + c] - pivot[c];
        }
        row[c] += lane_dot(column, w);
      }
    }
  };

  clear();
  int64_t blocks = 0;
  for_each_block(range, [&](int64_t first_quad) {
    for (int64_t j = 0; j < n; ++j) {
      block_weights<T>(noise, range.element, j, first_quad, weight, score + j * kLanes,
                       scale + j * kLanes);
      accumulate(score + j * kLanes, partial + j * columns, first_quad);
      if (moment == Moment::diagonal)
        accumulate(scale + j * kLanes, partial + (n + j) * columns, first_quad);
    }
    if (outer) {
      T* const mirror_noise = mirror;
      T* const mirror_score = mirror + n * kLanes;
      for (int64_t j = 0; j < n; ++j) {
        const int64_t row = j * kLanes;
        block_draws<T>(noise, range.element, j, first_quad, 0, scale + row, score + row);
        if (pairs)
          block_draws<T>(noise, range.element, j, first_quad, ~0u, mirror_noise + row,
                         mirror_score + row);
      }
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          const T diagonal = i == j ? T(1) : T(0);
          for (int t = 0; t < kLanes; ++t) {
            const T h = score[i * kLanes + t] * scale[j * kLanes + t] - diagonal;
            const T other =
                pairs ? mirror_score[i * kLanes + t] * mirror_noise[j * kLanes + t] - diagonal
                      : T(0);
            weight[t] = pairs ? fused(noise.pair_weight, h + other, h) : h;
          }
          accumulate(weight, partial + (n + i * n + j) * columns, first_quad);
        }
      }
    }
    if (++blocks % kFlushBlocks == 0) flush();
  });
  flush();
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
