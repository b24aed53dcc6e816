#pragma once

#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

inline void words(const Points& points, int64_t seed, int64_t n, Range range, int64_t* out) {
  for_each_block(range, [&](int64_t first_quad) {
    for (int64_t j = 0; j < n; ++j) {
      uint32_t word[kLanes];
      block_words(points, seed, range.element, j, first_quad, word);
      for (int t = 0; t < kLanes; ++t) {
        const int64_t i = lane_sample(first_quad, t);
        if (i >= range.begin && i < range.end) out[(i - range.begin) * n + j] = word[t];
      }
    }
  });
}

template <class T>
void perturb(const Noise<T>& noise, Range range, const T* x, const T* matrix, T* out, T* scratch) {
  const int64_t n = noise.n;
  T* epsilon = scratch;  // [n, kLanes]
  T unused[kLanes];
  for_each_block(range, [&](int64_t first_quad) {
    for (int64_t j = 0; j < n; ++j)
      block_weights<T>(noise, range.element, j, first_quad, epsilon + j * kLanes, unused, unused);
    const bool whole = 4 * first_quad >= range.begin && 4 * first_quad + kLanes <= range.end;
    for (int64_t j = 0; j < n; ++j) {
      T y[kLanes];
      if (matrix) {
        for (int t = 0; t < kLanes; ++t) y[t] = x[j];
        for (int64_t k = 0; k < n; ++k) {
          for (int t = 0; t < kLanes; ++t)
            y[t] = fused(matrix[j * n + k], epsilon[k * kLanes + t], y[t]);
        }
      } else {
        const T scale = noise.scale_at(range.element, j);
        for (int t = 0; t < kLanes; ++t) y[t] = fused(scale, epsilon[j * kLanes + t], x[j]);
      }
      T* const base = out + (4 * first_quad - range.begin) * n + j;
      for (int t = 0; t < kLanes; ++t) {
        const int64_t i = lane_sample(0, t);
        const int64_t sample = 4 * first_quad + i;
        if (whole || (sample >= range.begin && sample < range.end)) base[i * n] = y[t];
      }
    }
  });
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
