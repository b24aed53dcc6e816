// From sums over chunks of samples to means and gradients.
#pragma once

#include "device.cuh"

namespace torchsmooth {
namespace {  // every file that includes this has kernels of its own

constexpr int kFinishThreads = 256;
// Outputs of one element that a block writes.
constexpr int64_t kFinishTile = 1024;

// Entry: double, or uint32_t for counts.
template <class T, class Entry>
__global__ void __launch_bounds__(kFinishThreads)
    mean_kernel(const Noise<T> noise, const T* __restrict__ x,  // [B, n]
                const T* __restrict__ pivot,                    // [B, outcomes], or null: 0
                int64_t elements, int64_t outcomes, int64_t chunks,
                const Entry* __restrict__ sums,  // [B, chunks, outcomes]
                T* __restrict__ mean) {          // [B, outcomes]
  const int64_t n = noise.n, m = outcomes, tiles = ceil_div(m, kFinishTile);
  for (int64_t task = blockIdx.x; task < elements * tiles; task += gridDim.x) {
    const int64_t element = task / tiles, begin = task % tiles * kFinishTile;
    const bool good = usable(noise, element, x + element * n);
    sum_chunks<kFinishThreads, Entry>(
        sums + element * chunks * m, chunks, m, begin, min(begin + kFinishTile, m),
        [&](int64_t k, Entry sum) {
          const double center = pivot ? pivot[element * m + k] : T(0);
          const double average = static_cast<double>(sum) / noise.num_samples;
          mean[element * m + k] = good ? static_cast<T>(center + average) : static_cast<T>(NAN);
        });
  }
}

template <class T>
__global__ void __launch_bounds__(kFinishThreads)
    gradient_kernel(const Noise<T> noise, const T* __restrict__ x, int64_t elements, int64_t chunks,
                    int64_t weights, double factor,
                    const double* __restrict__ sums,  // [B, chunks, weights]
                    T* __restrict__ grad_x,           // [B, n]
                    T* __restrict__ grad_scale) {     // [B, n] or [B, 0]
  const int64_t n = noise.n, tiles = ceil_div(weights, kFinishTile);
  for (int64_t task = blockIdx.x; task < elements * tiles; task += gridDim.x) {
    const int64_t element = task / tiles, begin = task % tiles * kFinishTile;
    const bool good = usable(noise, element, x + element * n);
    sum_chunks<kFinishThreads, double>(
        sums + element * chunks * weights, chunks, weights, begin,
        min(begin + kFinishTile, weights), [&](int64_t k, double sum) {
          const int64_t j = k % n;
          T* const out = k < n ? grad_x : grad_scale;
          out[element * n + j] = good ? static_cast<T>(factor / noise.scale_at(element, j) * sum)
                                      : static_cast<T>(NAN);
        });
  }
}

// sums: [B, chunks, outcomes], of type Entry.
template <class Entry, class T>
void finish_mean(const Noise<T>& noise, const T* x, const T* pivot, int64_t elements,
                 const Tensor& sums, const Tensor& device, Tensor& mean) {
  const int64_t chunks = sums.size(1), outcomes = sums.size(2);
  launch(&mean_kernel<T, Entry>, elements * ceil_div(outcomes, kFinishTile), kFinishThreads, 0,
         device, noise, x, pivot, elements, outcomes, chunks, data<Entry>(sums),
         mutable_data<T>(mean));
}

// sums: doubles [B, chunks, n or 2 n], of scores and then, if wanted, of scale weights.
template <class T>
void finish_gradient(const Noise<T>& noise, const T* x, int64_t elements, double factor,
                     const Tensor& sums, const Tensor& device, Tensor& grad_x, Tensor& grad_scale) {
  const int64_t weights = sums.size(2);
  launch(&gradient_kernel<T>, elements * ceil_div(weights, kFinishTile), kFinishThreads, 0, device,
         noise, x, elements, sums.size(1), weights, factor, data<double>(sums),
         mutable_data<T>(grad_x), mutable_data<T>(grad_scale));
}

}  // namespace
}  // namespace torchsmooth
