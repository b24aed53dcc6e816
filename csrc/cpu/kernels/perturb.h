#pragma once

#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

inline void words(const Points& points, int64_t seed, int64_t n, Range range, int64_t* out) {
  for_each_block(range, [&](int64_t first_quad) {
    for_each_dimension(points, seed, n, range.element, first_quad,
                       [&](int64_t j, const uint32_t (&word)[kBlock]) {
                         for (int t = 0; t < kBlock; ++t) {
                           const int64_t i = block_sample(first_quad, t);
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
                                 T (&y)[kQuads][kBlock]) {
  const int64_t n = noise.n;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t j = first + k;
    if (matrix) {
      for (int t = 0; t < kBlock; ++t) y[k][t] = x[j];
      for (int64_t i = 0; i < n; ++i) {
        for (int t = 0; t < kBlock; ++t)
          y[k][t] = fused(matrix[j * n + i], epsilon[i * kBlock + t], y[k][t]);
      }
    } else {
      const T scale = noise.scale_at(element, j);
      for (int t = 0; t < kBlock; ++t) y[k][t] = fused(scale, epsilon[j * kBlock + t], x[j]);
    }
  }
}

template <class T>
void perturb(const Noise<T>& noise, Range range, const T* x, const T* matrix, T* out,
             const PerturbScratch<T>& scratch) {
  const int64_t n = noise.n;
  T* const epsilon = scratch.epsilon;
  T unused[kBlock];
  for_each_block(range, [&](int64_t first_quad) {
    for_each_dimension(noise.points, *noise.seed, n, range.element, first_quad,
                       [&](int64_t j, const uint32_t (&word)[kBlock]) {
                         word_weights<T>(noise, word, epsilon + j * kBlock, unused, unused);
                       });
    const bool whole = 4 * first_quad >= range.begin && 4 * first_quad + kBlock <= range.end;
    T* const base = out + (4 * first_quad - range.begin) * n;
    for (int64_t first = 0; first < n; first += kQuads) {
      const int64_t count = n - first < kQuads ? n - first : kQuads;
      T y[kQuads][kBlock];
      perturbed_coordinates(noise, range.element, first, count, x, matrix, epsilon, y);
      if (whole && count == kQuads) {
        // Whole vectors of a row are written, not single numbers.
        for (int slot = 0; slot < kBlock; slot += kQuads) {
          Vector<T> v[kQuads];
          for (int k = 0; k < kQuads; ++k) v[k] = vector_at(&y[k][slot]);
          transpose<T>(v);
          for (int l = 0; l < kQuads; ++l)
            vector_at(base + block_sample(0, slot + l) * n + first) = v[l];
        }
        continue;
      }
      for (int t = 0; t < kBlock; ++t) {
        const int64_t i = block_sample(0, t), sample = 4 * first_quad + i;
        if (!whole && (sample < range.begin || sample >= range.end)) continue;
        for (int64_t k = 0; k < count; ++k) base[i * n + first + k] = y[k][t];
      }
    }
  });
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
