// Sorting more elements: a block sorts a tile of samples at a time, by a sorting network in shared
// memory. The samples of a tile are the fast index, so that the threads of a warp mostly do the
// same comparison for different samples and meet different banks.
#pragma once

#include "../core/functions/sort.h"
#include "device.cuh"

namespace torchsmooth {

constexpr int kLargeThreads = 256;
constexpr int kLargeBlocks = 3;  // on a multiprocessor: what registers are limited to
constexpr int kMostTileShift = 7;
constexpr int64_t kSharedCounts = 64;  // largest n whose n^2 counts are kept in shared memory

// A tile's shape and its place in dynamic shared memory.
template <class T>
struct Tile {
  int n;
  int shift;    // logarithm of the number of samples, at least 2
  int samples;
  T* y;         // [n, samples]
  int* index;   // [n, samples]: first element j, after sorting the element that has rank j
  T* score;     // [n, samples], for gradients
  T* scale;     // [n, samples], for gradients in the scale

  __device__ Tile(int n, int shift, unsigned char* memory)
      : n(n),
        shift(shift),
        samples(1 << shift),
        y(reinterpret_cast<T*>(memory)),
        index(reinterpret_cast<int*>(y + n * samples)),
        score(reinterpret_cast<T*>(index + n * samples)),
        scale(score + n * samples) {}

  // kParts: 1, or 2 with the scores, or 3 with the scale weights too.
  static __host__ __device__ constexpr int64_t bytes_per_value(int parts) {
    return parts * static_cast<int64_t>(sizeof(T)) + static_cast<int64_t>(sizeof(int));
  }

  template <int kParts>
  __device__ void draw(const Noise<T>& noise, int64_t seed, int64_t element, int64_t first_quad,
                       const T* __restrict__ x) {  // [n]
    const int quads = samples / 4;
    for (int item = threadIdx.x; item < n * quads; item += kLargeThreads) {
      const int j = item >> (shift - 2), q = item & (quads - 1), at = (j << shift) + 4 * q;
      const T center = x[j], factor = noise.scale_at(element, j);
      Quad<T> values, scores, volumes;
      // Drawing is the smaller part: the laws need not be in every kernel.
      for_quad<(kParts > 1), false, false>(noise, seed, element, j, first_quad + q,
                                           [&](int c, const Weights<T>& w) {
                                             values.v[c] = fused(factor, w.noise, center);
                                             scores.v[c] = w.score;
                                             volumes.v[c] = w.scale;
                                           });
      *reinterpret_cast<Quad<T>*>(y + at) = values;
      *reinterpret_cast<int4*>(index + at) = make_int4(j, j, j, j);
      if constexpr (kParts > 1) *reinterpret_cast<Quad<T>*>(score + at) = scores;
      if constexpr (kParts > 2) *reinterpret_cast<Quad<T>*>(scale + at) = volumes;
    }
    __syncthreads();
  }

  __device__ void sort(bool descending) {
    for_each_stage(n, [&](Stage stage) {
      const int p = static_cast<int>(stage.p), r = static_cast<int>(stage.r);
      const int d = static_cast<int>(stage.d), lower = n - d;  // elements i < lower have a partner
      const int comparators = (lower + 2 * p - 1) / (2 * p) * p;
      for (int item = threadIdx.x; item < comparators << shift; item += kLargeThreads) {
        const int c = item >> shift, t = item & (samples - 1);
        // Comparator c belongs to the c-th i with (i & p) == r.
        const int i = ((c & ~(p - 1)) << 1) | r | (c & (p - 1));
        if (i >= lower) continue;
        const int low = (i << shift) + t, high = ((i + d) << shift) + t;
        const T a = y[low], b = y[high];
        const int e = index[low], f = index[high];
        if (out_of_order(a, e, b, f, descending)) {
          y[low] = b;
          y[high] = a;
          index[low] = f;
          index[high] = e;
        }
      }
      __syncthreads();
    });
  }
};

// Adds how often element i has rank k.
template <class T>
__global__ void __launch_bounds__(kLargeThreads, kLargeBlocks)
    argsort_large_kernel(const Noise<T> noise, int64_t elements, Chunks chunks, int shift,
                         bool descending,
                         const T* __restrict__ x,          // [B, n]
                         uint32_t* __restrict__ counts) {  // [B, n, n]
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ uint32_t block_counts[kSharedCounts * kSharedCounts];
  const int64_t n = noise.n, seed = *noise.seed;
  Tile<T> tile(static_cast<int>(n), shift, memory);
  const int samples = tile.samples;
  const bool in_block = n <= kSharedCounts;
  for (int64_t task = blockIdx.x; task < elements * chunks.count; task += gridDim.x) {
    const int64_t element = task / chunks.count;
    uint32_t* const element_counts = counts + element * n * n;
    uint32_t* const target = in_block ? block_counts : element_counts;
    if (in_block) {
      for (int cell = threadIdx.x; cell < n * n; cell += kLargeThreads) block_counts[cell] = 0;
    }
    const int64_t begin = task % chunks.count * chunks.units * samples;
    const int64_t end = min(begin + chunks.units * samples, int64_t(noise.num_samples));
    for (int64_t first = begin; first < end; first += samples) {
      tile.template draw<1>(noise, seed, element, first / 4, x + element * n);
      tile.sort(descending);
      for (int item = threadIdx.x; item < n << shift; item += kLargeThreads) {
        if (first + (item & (samples - 1)) < end)
          atomicAdd(&target[(item >> shift) * n + tile.index[item]], 1u);
      }
      __syncthreads();
    }
    if (in_block) {
      for (int cell = threadIdx.x; cell < n * n; cell += kLargeThreads) {
        if (block_counts[cell] != 0) atomicAdd(&element_counts[cell], block_counts[cell]);
      }
      __syncthreads();
    }
  }
}

// See argsort_small_backward_kernel.
template <class T, bool kScale>
__global__ void __launch_bounds__(kLargeThreads, kLargeBlocks)
    argsort_large_backward_kernel(const Noise<T> noise, int64_t elements, Chunks chunks,
                                  int shift, bool descending,
                                  const T* __restrict__ x,         // [B, n]
                                  const T* __restrict__ grad,      // [B, n, n]
                                  const T* __restrict__ baseline,  // [B]
                                  double* __restrict__ sums) {     // [B, chunks, n or 2 n]
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ T slice_sums[kLargeThreads];  // [slices of the ranks, samples]
  __shared__ T g[1 << kMostTileShift];
  constexpr int kParts = kScale ? 3 : 2;
  const int n = static_cast<int>(noise.n), weights = kScale ? 2 * n : n;
  double* const totals = reinterpret_cast<double*>(memory);  // [weights]
  Tile<T> tile(n, shift, memory + (weights + 1) / 2 * 2 * sizeof(double));
  const int samples = tile.samples;
  const int64_t seed = *noise.seed;
  const int t = threadIdx.x & (samples - 1), slice = threadIdx.x >> shift;
  const int slices = kLargeThreads >> shift;
  for (int64_t task = blockIdx.x; task < elements * chunks.count; task += gridDim.x) {
    const int64_t element = task / chunks.count;
    const T* const upstream = grad + element * n * n;
    for (int k = threadIdx.x; k < weights; k += kLargeThreads) totals[k] = 0;
    const int64_t begin = task % chunks.count * chunks.units * samples;
    const int64_t end = min(begin + chunks.units * samples, int64_t(noise.num_samples));
    for (int64_t first = begin; first < end; first += samples) {
      tile.template draw<kParts>(noise, seed, element, first / 4, x + element * n);
      tile.sort(descending);
      T part = T(0);
      for (int k = slice; k < n; k += slices)
        part += upstream[int64_t(k) * n + tile.index[(k << shift) + t]];
      slice_sums[threadIdx.x] = part;
      __syncthreads();
      if (slice == 0) {
        T sum = T(0);
        for (int s = 0; s < slices; ++s) sum += slice_sums[(s << shift) + t];
        g[t] = first + t < end ? sum - baseline[element] : T(0);
      }
      __syncthreads();
      for (int k = threadIdx.x; k < weights; k += kLargeThreads) {
        const T* const row = (k < n ? tile.score : tile.scale - n * samples) + k * samples;
        T sum = T(0);
        for (int u = 0; u < samples; ++u) {
          // Threads start at different samples, so that they meet different banks.
          const int sample = (u + (threadIdx.x * samples / kWarp)) & (samples - 1);
          sum = fused(g[sample], row[sample], sum);
        }
        totals[k] += sum;
      }
      __syncthreads();
    }
    for (int k = threadIdx.x; k < weights; k += kLargeThreads) sums[task * weights + k] = totals[k];
    __syncthreads();
  }
}

}  // namespace torchsmooth
