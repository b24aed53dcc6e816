#pragma once

#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

inline void words(const Points& points, int64_t seed, int64_t n, Range range, int64_t* out) {
  for_each_block(range, [&](int64_t first_quad) {
    for_each_dimension(points, seed, n, range.element, first_quad,
                       [&](int64_t j, const uint32_t (&word)[kLanes]) {
                         for (int t = 0; t < kLanes; ++t) {
                           const int64_t i = lane_sample(first_quad, t);
                           if (i >= range.begin && i < range.end)
                             out[(i - range.begin) * n + j] = word[t];
                         }
                       });
  });
}

// Coordinates [first, first + count) of the points of a block, count <= kQuads.
template <class T>
TS_HD void perturbed_coordinates(const Noise<T>& noise, int64_t element, int64_t first,
                                 int64_t count, const T* x, const T* matrix, const T* epsilon,
                                 T (&y)[kQuads][kLanes]) {
  const int64_t n = noise.n;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t j = first + k;
    if (matrix) {
      for (int t = 0; t < kLanes; ++t) y[k][t] = x[j];
      for (int64_t i = 0; i < n; ++i) {
        for (int t = 0; t < kLanes; ++t)
          y[k][t] = fused(matrix[j * n + i], epsilon[i * kLanes + t], y[k][t]);
      }
    } else {
      const T scale = noise.scale_at(element, j);
      for (int t = 0; t < kLanes; ++t) y[k][t] = fused(scale, epsilon[j * kLanes + t], x[j]);
    }
  }
}

template <class T>
void perturb(const Noise<T>& noise, Range range, const T* x, const T* matrix, T* out, T* scratch) {
  const int64_t n = noise.n;
  T* epsilon = scratch;  // [n, kLanes]
  T unused[kLanes];
  for_each_block(range, [&](int64_t first_quad) {
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad,
                       [&](int64_t j, const uint32_t (&word)[kLanes]) {
                         word_weights<T>(noise, word, epsilon + j * kLanes, unused, unused);
                       });
    const bool whole = 4 * first_quad >= range.begin && 4 * first_quad + kLanes <= range.end;
    T* const base = out + (4 * first_quad - range.begin) * n;
    for (int64_t first = 0; first < n; first += kQuads) {
      const int64_t count = n - first < kQuads ? n - first : kQuads;
      T y[kQuads][kLanes];
      perturbed_coordinates(noise, range.element, first, count, x, matrix, epsilon, y);
      if (whole && count == kQuads) {
        // Whole vectors of a row are written, not single numbers.
        for (int lane = 0; lane < kLanes; lane += kQuads) {
          Vector<T> v[kQuads];
          for (int k = 0; k < kQuads; ++k) v[k] = vector_at(&y[k][lane]);
          transpose<T>(v);
          for (int l = 0; l < kQuads; ++l)
            vector_at(base + lane_sample(0, lane + l) * n + first) = v[l];
        }
        continue;
      }
      for (int t = 0; t < kLanes; ++t) {
        const int64_t i = lane_sample(0, t), sample = 4 * first_quad + i;
        if (!whole && (sample < range.begin || sample >= range.end)) continue;
        for (int64_t k = 0; k < count; ++k) base[i * n + first + k] = y[k][t];
      }
    }
  });
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
