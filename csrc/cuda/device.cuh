// What the kernels share: quads of samples, sizes as constants, sums over warps and chunks.
#pragma once

#include <type_traits>

#include "../core/noise.h"
#include "launch.cuh"

namespace torchsmooth {

// Values of the four samples that one evaluation of a sampler makes.
template <class T>
struct alignas(16) Quad {
  T v[4];
};

// A function, not inlined: the samplers together would take registers from every kernel.
template <class = void>
__device__ __noinline__ uint4 called_words(Points points, int64_t seed, uint32_t element,
                                           uint32_t j, uint32_t quad) {
  uint32_t word[4];
  sample_words<1>(points, seed, element, j, quad, word);
  return make_uint4(word[0], word[1], word[2], word[3]);
}

// kMonteCarlo promises plain Monte Carlo, whose words are inlined.
template <bool kMonteCarlo>
__device__ __forceinline__ void quad_words(const Points& points, int64_t seed, uint32_t element,
                                           uint32_t j, uint32_t quad, uint32_t (&word)[4]) {
  if constexpr (kMonteCarlo) {
    sample_words<1>(Points{Sampler::mc, false, points.count, points.side, points.directions}, seed,
                    element, j, quad, word);
  } else {
    const uint4 called = called_words(points, seed, element, j, quad);
    word[0] = called.x;
    word[1] = called.y;
    word[2] = called.z;
    word[3] = called.w;
  }
}

// A function, not inlined, with all laws in it: what a kernel calls that need not be the fastest.
template <class T>
__device__ __noinline__ Weights<T> called_weights(Law law, uint32_t word, T pair_weight) {
  Weights<T> w{};
  with_law(law, [&](auto l) {
    w = pair_weight == T(0) ? weights_from_word<T, false>(l, word, pair_weight)
                            : weights_from_word<T, true>(l, word, pair_weight);
  });
  return w;
}

// Calls take(c, weights) for the four samples of a quad: their noise and, if kWeights, the weights
// of f that go with it. The law is a branch that all threads take together, a few instructions per
// quad: a kernel for each law would be a library of hundreds. Double precision and the pairs of
// antithetic samples, which would be most of the code, are left to a function.
template <bool kWeights, class T, class F>
__device__ __forceinline__ void for_words(const Noise<T>& noise, const uint32_t (&word)[4],
                                          F&& take) {
  const auto inlined = [&] {
    with_law(noise.law, [&](auto law) {
      for (int c = 0; c < 4; ++c) take(c, weights_from_word<T, false>(law, word[c], T(0)));
    });
  };
  const auto called = [&](T pair_weight) {
    for (int c = 0; c < 4; ++c) take(c, called_weights(noise.law, word[c], pair_weight));
  };
  if constexpr (sizeof(T) == 8) {
    called(kWeights ? noise.pair_weight : T(0));
  } else if constexpr (kWeights) {
    if (noise.pair_weight == T(0)) {
      inlined();
    } else {
      called(noise.pair_weight);
    }
  } else {
    inlined();
  }
}

// The same for dimension j of the samples 4 quad + c, c = 0 ... 3; flip = ~0 gives the noise of
// their mirror images.
template <bool kWeights, bool kMonteCarlo, class T, class F>
__device__ __forceinline__ void for_quad(const Noise<T>& noise, int64_t seed, int64_t element,
                                         int64_t j, int64_t quad, F&& take, uint32_t flip = 0) {
  uint32_t word[4];
  quad_words<kMonteCarlo>(noise.points, seed, static_cast<uint32_t>(element),
                          static_cast<uint32_t>(j), static_cast<uint32_t>(quad), word);
  for (int c = 0; c < 4; ++c) word[c] ^= flip;
  for_words<kWeights>(noise, word, take);
}

// Calls run with std::true_type for plain Monte Carlo in float32, which has kernels of its own, and
// else with std::false_type.
template <class T, class F>
void with_monte_carlo(const Noise<T>& noise, F&& run) {
  if constexpr (sizeof(T) == 4) {
    if (noise.points.sampler == Sampler::mc && !noise.points.antithetic)
      return run(std::true_type{});
  }
  run(std::false_type{});
}

template <int N>
using Constant = std::integral_constant<int, N>;

// Calls f with n as a compile-time constant, so that arrays of n values stay in registers.
template <int kLow, int kHigh, class F>
__device__ __forceinline__ void with_size(int n, F&& f) {
  if constexpr (kLow == kHigh) {
    f(Constant<kLow>{});
  } else {
    constexpr int middle = (kLow + kHigh) / 2;
    if (n <= middle) {
      with_size<kLow, middle>(n, f);
    } else {
      with_size<middle + 1, kHigh>(n, f);
    }
  }
}

// Whether an element's inputs can be smoothed at all; the results of others are NaN. The threads of
// a block call it together.
template <class T>
__device__ bool usable(const Noise<T>& noise, int64_t element, const T* x) {
  bool good = true;
  for (int64_t j = threadIdx.x; j < noise.n; j += blockDim.x) {
    const T scale = noise.scale_at(element, j);
    if (!isfinite(x[j]) || !isfinite(scale) || scale == T(0)) good = false;
  }
  return __syncthreads_and(good);
}

// Over the lanes of a warp; in lane 0.
__device__ __forceinline__ uint32_t warp_sum(uint32_t x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_add_sync(0xFFFFFFFFu, x);
#else
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, step);
  return x;
#endif
}
template <class T>
__device__ __forceinline__ T warp_sum(T x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_down_sync(0xFFFFFFFFu, x, step);
  return x;
}

// The threads of a block share out `outputs` sums over chunks: calls take(output, sum) for each
// table[chunk * outputs + output] summed over the chunks, in an order that depends on their number
// alone. A few lanes of a warp take one output together where there are many chunks.
template <int kThreads, class Sum, class Entry, class F>
__device__ __forceinline__ void sum_chunks(const Entry* __restrict__ table,  // [chunks, outputs]
                                           int64_t chunks, int64_t outputs, int64_t begin,
                                           int64_t end, F&& take) {
  const int lanes = chunks < 4 ? 1 : chunks < 64 ? 8 : kWarp;
  const int lane = threadIdx.x % lanes, each = kThreads / lanes;
  for (int64_t first = begin; first < end; first += each) {
    const int64_t output = first + threadIdx.x / lanes;
    Sum sum = 0;
    if (output < end) {
      for (int64_t chunk = lane; chunk < chunks; chunk += lanes)
        sum += table[chunk * outputs + output];
    }
    for (int step = lanes / 2; step > 0; step /= 2)
      sum += __shfl_down_sync(0xFFFFFFFFu, sum, step, lanes);
    if (output < end && lane == 0) take(output, sum);
  }
}

}  // namespace torchsmooth
