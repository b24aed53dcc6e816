// Permutation matrices together with their derivatives: n^3 sums, so for few elements only.
#pragma once

#include "../core/functions/sort.h"
#include "device.cuh"

namespace torchsmooth {

constexpr int kJacobianThreads = 256;
constexpr int kJacobianSamples = 128;  // of a tile
constexpr int kJacobianLimit = 16;

// A table's row: n scores, 1, and, with the scale, n scale weights.
__host__ __device__ constexpr int row_width(int n, bool with_scale) {
  return with_scale ? 2 * n + 1 : n + 1;
}

// Shared memory of a block: a thread owns one element and one column of the rows, and adds the
// tile's samples one after the other to the row of the rank that the element has. No two threads
// of a group share a sum; groups take every groups-th sample and have tables of their own.
template <class T>
struct JacobianShape {
  static constexpr int kStride = kJacobianSamples + 1;  // an odd step: rows start at any bank

  int n;
  int width;
  int groups;

  __host__ __device__ JacobianShape(int n, bool with_scale)
      : n(n), width(row_width(n, with_scale)), groups(kJacobianThreads / (n * width)) {
    if (groups < 1) groups = 1;
  }
  __host__ __device__ int table_size() const { return n * n * width; }
  __host__ __device__ int64_t bytes() const {
    return (int64_t(groups) * table_size() + int64_t(width + n) * kStride) * sizeof(T) +
           n * kJacobianSamples;
  }
};

// Adds to sums[rank, element, .] the row of every sample in which the element has the rank.
template <class T>
__global__ void __launch_bounds__(kJacobianThreads, sizeof(T) == 4 ? 3 : 2)
    argsort_jacobian_kernel(const Noise<T> noise, int64_t elements, Chunks chunks, bool descending,
                            bool with_scale,
                            const T* __restrict__ x,      // [B, n]
                            double* __restrict__ sums) {  // [B, chunks, n, n, width]
  // Sums are kept in T for so many tiles and then added to doubles: no sum grows so long that it
  // loses digits.
  constexpr int kFlushTiles = 32;
  extern __shared__ __align__(16) unsigned char memory[];
  const JacobianShape<T> shape(static_cast<int>(noise.n), with_scale);
  constexpr int kStride = JacobianShape<T>::kStride;
  const int n = shape.n, width = shape.width, groups = shape.groups, size = shape.table_size();
  T* const table = reinterpret_cast<T*>(memory);  // [groups, n, n, width]
  T* const row = table + groups * size;           // [width, kStride]
  T* const y = row + width * kStride;             // [n, kStride]
  uint8_t* const rank = reinterpret_cast<uint8_t*>(y + n * kStride);  // [n, kJacobianSamples]
  const int64_t seed = *noise.seed;

  for (int k = threadIdx.x; k < groups * size; k += kJacobianThreads) table[k] = T(0);
  for (int t = threadIdx.x; t < kJacobianSamples; t += kJacobianThreads)
    row[n * kStride + t] = T(1);
  __syncthreads();
  for (int64_t task = blockIdx.x; task < elements * chunks.count; task += gridDim.x) {
    const int64_t element = task / chunks.count;
    double* const task_sums = sums + task * size;
    const int64_t begin = task % chunks.count * chunks.units * kJacobianSamples;
    const int64_t end =
        min(begin + chunks.units * kJacobianSamples, int64_t(noise.num_samples));
    int pending = 0;
    bool flushed = false;
    for (int64_t first = begin; first < end; first += kJacobianSamples) {
      constexpr int kQuads = kJacobianSamples / 4;
      for (int item = threadIdx.x; item < n * kQuads; item += kJacobianThreads) {
        const int j = item / kQuads, q = item % kQuads;
        const T center = x[element * n + j], factor = noise.scale_at(element, j);
        for_quad<true, false>(noise, seed, element, j, first / 4 + q,
                              [&](int c, const Weights<T>& w) {
                                y[j * kStride + 4 * q + c] = fused(factor, w.noise, center);
                                row[j * kStride + 4 * q + c] = w.score;
                                if (with_scale) row[(n + 1 + j) * kStride + 4 * q + c] = w.scale;
                              });
      }
      __syncthreads();
      if (threadIdx.x < kJacobianSamples) {
        with_size<1, kJacobianLimit>(n, [&](auto constant) {
          constexpr int N = decltype(constant)::value;
          T keys[N];
          int ranks[N];
          for (int j = 0; j < N; ++j) keys[j] = y[j * kStride + threadIdx.x];
          rank_by_counting<1>(keys, N, descending, ranks);
          for (int i = 0; i < N; ++i)
            rank[i * kJacobianSamples + threadIdx.x] = static_cast<uint8_t>(ranks[i]);
        });
      }
      __syncthreads();
      const int valid = static_cast<int>(min(int64_t(kJacobianSamples), end - first));
      const int owners = n * width;
      for (int item = threadIdx.x; item < groups * owners; item += kJacobianThreads) {
        const int group = item / owners, i = item % owners / width, c = item % width;
        T* const own = table + group * size + i * width + c;
        for (int t = group; t < valid; t += groups)
          own[rank[i * kJacobianSamples + t] * (n * width)] += row[c * kStride + t];
      }
      __syncthreads();
      if (++pending < kFlushTiles && first + kJacobianSamples < end) continue;
      for (int k = threadIdx.x; k < size; k += kJacobianThreads) {
        double total = flushed ? task_sums[k] : 0.0;
        for (int group = 0; group < groups; ++group) {
          total += table[group * size + k];
          table[group * size + k] = T(0);
        }
        task_sums[k] = total;
      }
      pending = 0;
      flushed = true;
      __syncthreads();
    }
  }
}

// Sums over the chunks, into each element's first.
__global__ void __launch_bounds__(kJacobianThreads)
    argsort_jacobian_sum_kernel(int64_t elements, int64_t chunks, int64_t size,
                                double* __restrict__ sums) {  // [B, chunks, size]
  for (int64_t element = blockIdx.x; element < elements; element += gridDim.x) {
    double* const table = sums + element * chunks * size;
    for (int64_t k = threadIdx.x; k < size; k += kJacobianThreads) {
      double total = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) total += table[chunk * size + k];
      table[k] = total;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kJacobianThreads)
    argsort_jacobian_finish_kernel(const Noise<T> noise, int64_t elements, int64_t chunks,
                                   bool descending, Baseline baseline, double factor,
                                   const T* __restrict__ x,          // [B, n]
                                   const double* __restrict__ sums,  // [B, chunks, n, n, width]
                                   T* __restrict__ matrix,           // [B, n, n]
                                   T* __restrict__ jacobian_x,       // [B, n, n, n]
                                   T* __restrict__ jacobian_scale) { // [B, n, n, n] or null
  const int n = static_cast<int>(noise.n), width = row_width(n, jacobian_scale != nullptr);
  const T nan = static_cast<T>(NAN);
  for (int64_t element = blockIdx.x; element < elements; element += gridDim.x) {
    const bool good = usable(noise, element, x + element * n);
    const double* const table = sums + element * chunks * n * n * width;
    const int64_t cells = element * n * n;
    for (int item = threadIdx.x; item < n * n; item += kJacobianThreads) {
      const int i = item / n, j = item % n;  // the derivatives of element i's ranks in input j
      int hard_rank[kJacobianLimit];
      if (baseline == Baseline::fx) rank_by_counting<1>(x + element * n, n, descending, hard_rank);
      // Summed over the ranks of one element, the rows are the sums of all weights. Taken from the
      // same table, they cancel exactly where the element always has the same rank.
      double total = 0, scale_total = 0;
      for (int k = 0; k < n; ++k) {
        const double* const row = table + (k * n + i) * width;
        total += row[j];
        if (jacobian_scale) scale_total += row[n + 1 + j];
      }
      const double by = factor / noise.scale_at(element, j);
      for (int k = 0; k < n; ++k) {
        const int64_t cell = k * n + i;
        const double* const row = table + cell * width;
        const double mean = row[n] / noise.num_samples;
        const double center = baseline == Baseline::none   ? 0.0
                              : baseline == Baseline::mean ? mean
                              : hard_rank[i] == k          ? 1.0
                                                           : 0.0;
        if (j == 0) matrix[cells + cell] = good ? static_cast<T>(mean) : nan;
        const int64_t out = (cells + cell) * n + j;
        jacobian_x[out] = good ? static_cast<T>(by * (row[j] - center * total)) : nan;
        if (jacobian_scale) {
          jacobian_scale[out] =
              good ? static_cast<T>(by * (row[n + 1 + j] - center * scale_total)) : nan;
        }
      }
    }
  }
}

}  // namespace torchsmooth
