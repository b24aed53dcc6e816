// Sorting few elements: a thread owns pairs of quads of samples. Their words, and then the perturbed
// values, pass through columns of shared memory that no other thread touches, so that the loops over
// dimensions, with all samplers and laws in them, are compiled once and not unrolled, while the
// ranks are found in registers by code that is unrolled for each n.
#pragma once

#include "../core/functions/sort.h"
#include "device.cuh"

namespace torchsmooth {

constexpr int kSmallThreads = 128;
constexpr int kSmallWarps = kSmallThreads / kWarp;

// Quads of a thread that are sampled together: they share what a sampler computes per dimension.
constexpr int kTogether = 2;
constexpr int kSmallUnit = kTogether * kSmallThreads;  // quads that a block takes at a time

// The sizes come in two groups, because the larger ones need more registers.
constexpr int kSmallest = 5;
constexpr int kSmall = 8;

// Blocks on a multiprocessor: so that the compiler neither spills registers to make room for more
// blocks, nor takes so many registers that latencies show.
template <class T, int kMaxN, int kParts>
constexpr int kSmallBlocks = sizeof(T) == 8        ? (kMaxN > kSmallest ? 3 : 4)
                             : kMaxN > kSmallest ? (kParts > 2 ? 4 : 5)
                                                   : (kParts > 2 ? 5 : 6);

// The quads of one block: those of a chunk of an element.
struct SmallTask {
  int64_t element;
  int64_t begin;
  int64_t end;

  __device__ SmallTask(int64_t task, Chunks chunks, uint32_t num_samples)
      : element(task / chunks.count),
        begin(task % chunks.count * chunks.units * kSmallUnit),
        end(min(begin + chunks.units * kSmallUnit, ceil_div(int64_t(num_samples), 4))) {}
};

// What x + scale * noise needs of one element.
template <class T>
struct SmallInput {
  T x[kSmall];
  T scale[kSmall];

  // One thread per dimension.
  __device__ void load(const Noise<T>& noise, int64_t element, const T* __restrict__ input) {
    if (threadIdx.x < noise.n) {
      x[threadIdx.x] = input[element * noise.n + threadIdx.x];
      scale[threadIdx.x] = noise.scale_at(element, threadIdx.x);
    }
  }
};

// Fills the thread's columns with the words of its quads. A function, not inlined: its registers are
// free again when the laws are evaluated.
template <class T>
__device__ __noinline__ void fill_words(Points points, int64_t seed, uint32_t element, int n,
                                        uint32_t first_quad,
                                        Quad<T>* column) {  // [kTogether, n, kSmallThreads]
#pragma unroll 1
  for (int j = 0; j < n; ++j) {
    const auto store = [&](int q, uint4 words) {
      *reinterpret_cast<uint4*>(column + (q * n + j) * kSmallThreads) = words;
    };
    const auto sample = [&](auto sampler) {
      uint32_t word[4 * kTogether];
      points.sampler = decltype(sampler)::value;
      sample_words<kTogether>(points, seed, element, j, first_quad, word);
      for (int q = 0; q < kTogether; ++q) {
        store(q, make_uint4(word[q], word[kTogether + q], word[2 * kTogether + q],
                            word[3 * kTogether + q]));
      }
    };
    if (points.sampler == Sampler::mc) {
      sample(std::integral_constant<Sampler, Sampler::mc>{});
    } else if (points.sampler == Sampler::sobol) {
      sample(std::integral_constant<Sampler, Sampler::sobol>{});
    } else {
      // The others would need many registers for several quads at a time.
#pragma unroll 1
      for (int q = 0; q < kTogether; ++q)
        store(q, called_words(points, seed, element, j, first_quad + q));
    }
  }
}

// Turns the words of a quad into the perturbed values and stores, kParts = 2 or 3, the scores and
// the scale weights.
template <int kParts, class T>
__device__ __forceinline__ void perturb_column(const Noise<T>& noise, const SmallInput<T>& input,
                                               Quad<T>* column,     // [n, kSmallThreads]
                                               Quad<T>* weights) {  // [kParts - 1, n, the same]
  const int n = static_cast<int>(noise.n);
#pragma unroll 1
  for (int j = 0; j < n; ++j) {
    const T x = input.x[j], scale = input.scale[j];
    const uint4 words = *reinterpret_cast<const uint4*>(column + j * kSmallThreads);
    const uint32_t word[4] = {words.x, words.y, words.z, words.w};
    Quad<T> y, score, volume;
    for_words<(kParts > 1)>(noise, word, [&](int c, const Weights<T>& w) {
      y.v[c] = fused(scale, w.noise, x);
      score.v[c] = w.score;
      volume.v[c] = w.scale;
    });
    column[j * kSmallThreads] = y;
    if constexpr (kParts > 1) weights[j * kSmallThreads] = score;
    if constexpr (kParts > 2) weights[(n + j) * kSmallThreads] = volume;
  }
}

// Calls take(c, rank) for the four samples of a column, rank[i] being that of element i.
template <int N, class T, class F>
__device__ __forceinline__ void rank_column(const Quad<T>* column,  // [N, kSmallThreads]
                                            bool descending, F&& take) {
  Quad<T> y[N];
  for (int j = 0; j < N; ++j) y[j] = column[j * kSmallThreads];
  const auto rank_samples = [&](bool order) {
    for (int c = 0; c < 4; ++c) {
      T keys[N];
      int rank[N];
      for (int j = 0; j < N; ++j) keys[j] = y[j].v[c];
      rank_by_counting<1>(keys, N, order, rank);
      take(c, rank);
    }
  };
  // The order is a constant in each branch, so that a comparison is one instruction.
  if (descending) {
    rank_samples(true);
  } else {
    rank_samples(false);
  }
}

// Counts of one element by rank, kept in one word: N fields as wide as fit.
template <int N>
struct Fields {
  static constexpr int kBits = N == 1 ? 16 : 32 / N;
  static constexpr uint32_t kMask = (1u << kBits) - 1;
  static constexpr int kQuads = static_cast<int>(kMask / 4);  // that can be counted
};

// How often element i has rank k, for each chunk of an element's samples.
template <class T, int kMinN, int kMaxN>
__global__ void __launch_bounds__(kSmallThreads, kSmallBlocks<T, kMaxN, 1>)
    argsort_small_kernel(const Noise<T> noise, int64_t elements, Chunks chunks, bool descending,
                         const T* __restrict__ x,          // [B, n]
                         uint32_t* __restrict__ counts) {  // [B, chunks, n, n]
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ SmallInput<T> input;
  __shared__ uint32_t warp_counts[kSmallWarps][kSmall * kSmall];
  // [kTogether, n, kSmallThreads]
  Quad<T>* const column = reinterpret_cast<Quad<T>*>(memory) + threadIdx.x;
  const int n = static_cast<int>(noise.n), lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t seed = *noise.seed;
  for (int64_t index = blockIdx.x; index < elements * chunks.count; index += gridDim.x) {
    const SmallTask task(index, chunks, noise.num_samples);
    input.load(noise, task.element, x);
    __syncthreads();
    uint32_t fields[kMaxN] = {};
    uint32_t total[2] = {};  // of the warp: lane l has cells l and l + 32
    int pending = 0;
    for (int64_t first = task.begin; first < task.end; first += kSmallUnit) {
      const int64_t first_quad = first + kTogether * threadIdx.x;
      fill_words(noise.points, seed, static_cast<uint32_t>(task.element), n,
                 static_cast<uint32_t>(first_quad), column);
#pragma unroll 1
      for (int q = 0; q < kTogether; ++q) {
        perturb_column<1, T>(noise, input, column + q * n * kSmallThreads, nullptr);
        const bool last = first + kSmallUnit >= task.end && q == kTogether - 1;
        ++pending;
        with_size<kMinN, kMaxN>(n, [&](auto size) {
          constexpr int N = decltype(size)::value;
          using Field = Fields<N>;
          rank_column<N>(column + q * N * kSmallThreads, descending, [&](int c, const int* rank) {
            const uint32_t one = 4 * (first_quad + q) + c < noise.num_samples ? 1 : 0;
            for (int i = 0; i < N; ++i) fields[i] += one << (Field::kBits * rank[i]);
          });
          if (pending < Field::kQuads && !last) return;
          for (int cell = 0; cell < N * N; ++cell) {
            const uint32_t field = fields[cell % N] >> (Field::kBits * (cell / N)) & Field::kMask;
            const uint32_t sum = warp_sum(field);
            if (lane == cell % kWarp) total[cell / kWarp] += sum;
          }
          for (int i = 0; i < N; ++i) fields[i] = 0;
          pending = 0;
        });
      }
    }
    warp_counts[warp][lane] = total[0];
    warp_counts[warp][lane + kWarp] = total[1];
    __syncthreads();
    if (threadIdx.x < n * n) {
      uint32_t sum = 0;
      for (int w = 0; w < kSmallWarps; ++w) sum += warp_counts[w][threadIdx.x];
      counts[index * n * n + threadIdx.x] = sum;
    }
    __syncthreads();
  }
}

// With g the sum of grad over the (rank, element) of a sample: sums of (g - baseline) * weight, n
// scores and then, if kScale, n scale weights, for each chunk of an element's samples.
template <class T, int kMinN, int kMaxN, bool kScale>
__global__ void __launch_bounds__(kSmallThreads, kSmallBlocks<T, kMaxN, kScale ? 3 : 2>)
    argsort_small_backward_kernel(const Noise<T> noise, int64_t elements, Chunks chunks,
                                  bool descending,
                                  const T* __restrict__ x,         // [B, n]
                                  const T* __restrict__ grad,      // [B, n, n]
                                  const T* __restrict__ baseline,  // [B]
                                  double* __restrict__ sums) {     // [B, chunks, n or 2 n]
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ SmallInput<T> input;
  __shared__ T upstream[kSmall * kSmall];  // [element, rank]
  __shared__ T warp_sums[kSmallWarps][2 * kSmall];
  constexpr int kParts = kScale ? 3 : 2;
  const int n = static_cast<int>(noise.n), weights = kScale ? 2 * n : n;
  // [kTogether, n, kSmallThreads], and then the scores and the scale weights of one quad.
  Quad<T>* const column = reinterpret_cast<Quad<T>*>(memory) + threadIdx.x;
  Quad<T>* const weight_column = column + kTogether * n * kSmallThreads;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t seed = *noise.seed;
  for (int64_t index = blockIdx.x; index < elements * chunks.count; index += gridDim.x) {
    const SmallTask task(index, chunks, noise.num_samples);
    const T center = baseline[task.element];
    input.load(noise, task.element, x);
    if (threadIdx.x < n * n)
      upstream[threadIdx.x % n * n + threadIdx.x / n] = grad[task.element * n * n + threadIdx.x];
    __syncthreads();
    T sum[kParts - 1][kMaxN] = {};
    for (int64_t first = task.begin + kTogether * threadIdx.x; first < task.end;
         first += kSmallUnit) {
      fill_words(noise.points, seed, static_cast<uint32_t>(task.element), n,
                 static_cast<uint32_t>(first), column);
#pragma unroll 1
      for (int q = 0; q < kTogether; ++q) {
        perturb_column<kParts>(noise, input, column + q * n * kSmallThreads, weight_column);
        with_size<kMinN, kMaxN>(n, [&](auto size) {
          constexpr int N = decltype(size)::value;
          T g[4];
          rank_column<N>(column + q * N * kSmallThreads, descending, [&](int c, const int* rank) {
            T value = T(0);
            for (int i = 0; i < N; ++i) value += upstream[i * N + rank[i]];
            g[c] = 4 * (first + q) + c < noise.num_samples ? value - center : T(0);
          });
          for (int part = 0; part < kParts - 1; ++part) {
            for (int j = 0; j < N; ++j) {
              const Quad<T> weight = weight_column[(part * N + j) * kSmallThreads];
              for (int c = 0; c < 4; ++c) sum[part][j] = fused(g[c], weight.v[c], sum[part][j]);
            }
          }
        });
      }
    }
    for (int part = 0; part < kParts - 1; ++part) {
#pragma unroll
      for (int j = 0; j < kMaxN; ++j) {
        if (j >= n) continue;
        const T total = warp_sum(sum[part][j]);
        if (lane == 0) warp_sums[warp][part * n + j] = total;
      }
    }
    __syncthreads();
    if (threadIdx.x < weights) {
      double total = 0;
      for (int w = 0; w < kSmallWarps; ++w) total += warp_sums[w][threadIdx.x];
      sums[index * weights + threadIdx.x] = total;
    }
    __syncthreads();
  }
}

}  // namespace torchsmooth
