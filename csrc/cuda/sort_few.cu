// Sorting few elements: a thread owns pairs of quads of samples. Their words, and then the perturbed
// values, pass through columns of shared memory that no other thread touches, so that the loops over
// dimensions, with all samplers and laws in them, are compiled once and not unrolled, while the
// samples are sorted in registers by code that is unrolled for each n.
#include "sort.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// Quads of a thread that are sampled together: they share what a sampler computes per dimension.
constexpr int kTogether = 2;
constexpr int kUnit = kTogether * kThreads;  // quads that a block takes at a time

// The sizes come in two groups, because the larger ones need more registers.
constexpr int kFewest = 5;

// Blocks on a multiprocessor: so that the compiler neither spills registers to make room for more
// blocks, nor takes so many registers that latencies show.
template <class T, int kMaxN, int kParts>
constexpr int kBlocks = sizeof(T) == 8 ? 3 : kMaxN > kFewest || kParts > 2 ? 4 : 5;

// The quads of one block: those of a chunk of an element. There are at most 2^28 of them.
struct FewTask {
  uint32_t element;
  int begin;
  int end;

  __device__ FewTask(int64_t task, Chunks chunks, uint32_t num_samples)
      : element(static_cast<uint32_t>(task / chunks.count)),
        begin(static_cast<int>(task % chunks.count * chunks.units * kUnit)),
        end(static_cast<int>(
            min(begin + chunks.units * kUnit, ceil_div(int64_t(num_samples), 4)))) {}
};

// What x + scale * noise needs of one element, with the sign of the call.
template <class T>
struct FewInput {
  T x[kFew];
  T scale[kFew];

  // One thread per dimension.
  __device__ void load(const SortCall<T>& call, uint32_t element) {
    if (threadIdx.x < call.noise.n) {
      x[threadIdx.x] = call.sign() * call.x[int64_t(element) * call.noise.n + threadIdx.x];
      scale[threadIdx.x] = call.sign() * call.noise.scale_at(element, threadIdx.x);
    }
  }
};

// Fills the thread's columns with the words of its quads. A function, not inlined: its registers are
// free again when the laws are evaluated.
template <class T>
__device__ __noinline__ void fill_words(Points points, int64_t seed, uint32_t element, int n,
                                        uint32_t first_quad,
                                        Quad<T>* column) {  // [kTogether, n, kThreads]
#pragma unroll 1
  for (int j = 0; j < n; ++j) {
    const auto store = [&](int q, uint4 words) {
      *reinterpret_cast<uint4*>(column + (q * n + j) * kThreads) = words;
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
__device__ __forceinline__ void perturb_column(const Noise<T>& noise, const FewInput<T>& input,
                                               Quad<T>* column,     // [n, kThreads]
                                               Quad<T>* weights) {  // [kParts - 1, n, kThreads]
  const int n = static_cast<int>(noise.n);
#pragma unroll 1
  for (int j = 0; j < n; ++j) {
    const T x = input.x[j], scale = input.scale[j];
    const uint4 words = *reinterpret_cast<const uint4*>(column + j * kThreads);
    const uint32_t word[4] = {words.x, words.y, words.z, words.w};
    Quad<T> y, score, volume;
    for_words<(kParts > 1)>(noise, word, [&](int c, const Weights<T>& w) {
      y.v[c] = fused(scale, w.noise, x);
      score.v[c] = w.score;
      volume.v[c] = w.scale;
    });
    column[j * kThreads] = y;
    if constexpr (kParts > 1) weights[j * kThreads] = score;
    if constexpr (kParts > 2) weights[(n + j) * kThreads] = volume;
  }
}

// Calls take(c, keys) for the four samples of a column.
template <int N, class T, class F>
__device__ __forceinline__ void for_samples(const Quad<T>* column,  // [N, kThreads]
                                            F&& take) {
  Quad<T> y[N];
  for (int j = 0; j < N; ++j) y[j] = column[j * kThreads];
  for (int c = 0; c < 4; ++c) {
    T keys[N];
    for (int j = 0; j < N; ++j) keys[j] = y[j].v[c];
    take(c, keys);
  }
}

// Calls take(c, rank) for the four samples of a column, rank[i] being that of element i. Where only
// what comes first is wanted, all others are put last.
template <int N, class T, class F>
__device__ __forceinline__ void rank_samples(const Quad<T>* column, bool only_first, F&& take) {
  if (only_first) {
    for_samples<N>(column, [&](int c, const T (&keys)[N]) {
      int first;
      find_first<1>(keys, N, false, &first);
      int rank[N];
      for (int i = 0; i < N; ++i) rank[i] = i == first ? 0 : N - 1;
      take(c, rank);
    });
  } else {
    for_samples<N>(column, [&](int c, const T (&keys)[N]) {
      int rank[N];
      rank_by_counting<1>(keys, N, false, rank);
      take(c, rank);
    });
  }
}

// Calls take(c, keys) for the four samples of a column, sorted.
template <int N, class T, class F>
__device__ __forceinline__ void sort_samples(const Quad<T>* column, F&& take) {
  for_samples<N>(column, [&](int c, T (&keys)[N]) {
    for (int a = 0; a < N; ++a) {
      for (int b = a + 1; b < N; ++b) {
        const T low = keys[a], high = keys[b];
        const bool exchange = overtakes(high, low, false);
        keys[a] = exchange ? high : low;
        keys[b] = exchange ? low : high;
      }
    }
    take(c, keys);
  });
}

// Counts of one element by rank, kept in one word: N fields as wide as fit.
template <int N>
struct Fields {
  static constexpr int kBits = N == 1 ? 16 : 32 / N;
  static constexpr uint32_t kMask = (1u << kBits) - 1;
  static constexpr int kQuads = static_cast<int>(kMask / 4);  // that can be counted
};

// The outcome of matrices and ranks: how often element i has rank k. Outcomes are functors of one
// kernel: `load` what an element needs, `add` columns, `store` the sums of the block.
template <class T, int kMaxN>
struct RankCounts {
  struct Shared {
    uint32_t counts[kWarps][kFew * kFew];
  };
  uint32_t fields[kMaxN] = {};
  // Of the warp: lane l has cells l and l + 32.
  uint32_t total[kMaxN * kMaxN > kWarp ? 2 : 1] = {};
  int pending = 0;

  static __device__ void load(const SortCall<T>&, uint32_t, Shared&) {}

  // last: whether no other column comes.
  template <int N>
  __device__ __forceinline__ void add(const SortCall<T>& call, const Shared&,
                                      const Quad<T>* column, uint32_t first_sample, bool last) {
    using Field = Fields<N>;
    rank_samples<N>(column, call.sorting.only_first(), [&](int c, const int* rank) {
      const uint32_t one = first_sample + c < call.noise.num_samples ? 1 : 0;
      for (int i = 0; i < N; ++i) fields[i] += one << (Field::kBits * rank[i]);
    });
    if (++pending < Field::kQuads && !last) return;
    const int lane = threadIdx.x % kWarp;
    for (int cell = 0; cell < N * N; ++cell) {
      const uint32_t field = fields[cell % N] >> (Field::kBits * (cell / N)) & Field::kMask;
      const uint32_t sum = warp_sum(field);
      if (lane == cell % kWarp) total[cell / kWarp] += sum;
    }
    for (int i = 0; i < N; ++i) fields[i] = 0;
    pending = 0;
  }

  __device__ void store(const SortCall<T>& call, Shared& shared, double* sums) const {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int n = static_cast<int>(call.noise.n);
    shared.counts[warp][lane] = total[0];
    if constexpr (kMaxN * kMaxN > kWarp) shared.counts[warp][lane + kWarp] = total[1];
    __syncthreads();
    const auto count = [&](int cell) {
      uint32_t sum = 0;
      for (int w = 0; w < kWarps; ++w) sum += shared.counts[w][cell];
      return sum;
    };
    if (threadIdx.x >= call.outcomes) return;
    if (call.sorting.output == SortOutput::matrix) {
      sums[threadIdx.x] = count(static_cast<int>(call.sorting.first) * n + threadIdx.x);
    } else {
      double sum = 0;
      for (int k = 0; k < n; ++k) sum += (k + 1.0) * count(k * n + threadIdx.x);
      sums[threadIdx.x] = sum;
    }
  }
};

// Positions of sorted values: those that nobody asks for have the pivot 0.
template <class T>
__device__ __forceinline__ void load_by_position(const SortCall<T>& call, const T* outcomes,
                                                 T (&out)[kFew]) {
  const int64_t k = threadIdx.x, first = call.sorting.first;
  if (k < kFew) out[k] = k >= first && k < call.sorting.last ? call.sign() * outcomes[k - first] : T(0);
}

template <class T, int kMaxN>
struct ValueSums {
  struct Shared {
    T pivot[kFew];
    T sums[kWarps][kFew];
  };
  T sum[kMaxN] = {};

  static __device__ void load(const SortCall<T>& call, uint32_t element, Shared& shared) {
    load_by_position(call, call.pivot + element * call.outcomes, shared.pivot);
  }

  template <int N>
  __device__ __forceinline__ void add(const SortCall<T>& call, const Shared& shared,
                                      const Quad<T>* column, uint32_t first_sample, bool) {
    sort_samples<N>(column, [&](int c, const T* sorted) {
      const bool valid = first_sample + c < call.noise.num_samples;
      for (int k = 0; k < N; ++k) sum[k] += valid ? sorted[k] - shared.pivot[k] : T(0);
    });
  }

  __device__ void store(const SortCall<T>& call, Shared& shared, double* sums) const {
#pragma unroll
    for (int k = 0; k < kMaxN; ++k) {
      const T all = warp_sum(sum[k]);
      if (threadIdx.x % kWarp == 0) shared.sums[threadIdx.x / kWarp][k] = all;
    }
    __syncthreads();
    if (threadIdx.x >= call.outcomes) return;
    double all = 0;
    for (int w = 0; w < kWarps; ++w) all += shared.sums[w][call.sorting.first + threadIdx.x];
    sums[threadIdx.x] = call.sign() * all;
  }
};

// The sums of an outcome for each chunk of an element's samples.
template <class T, int kMinN, int kMaxN, class Outcome>
__global__ void __launch_bounds__(kThreads, kBlocks<T, kMaxN, 1>)
    few_outcomes_kernel(const SortCall<T> call, Chunks chunks,
                        double* __restrict__ sums) {  // [B, chunks, outcomes]
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ FewInput<T> input;
  __shared__ typename Outcome::Shared shared;
  // [kTogether, n, kThreads]
  Quad<T>* const column = reinterpret_cast<Quad<T>*>(memory) + threadIdx.x;
  const Noise<T>& noise = call.noise;
  const int n = static_cast<int>(noise.n);
  const int64_t seed = *noise.seed;
  for (int64_t index = blockIdx.x; index < call.elements * chunks.count; index += gridDim.x) {
    const FewTask task(index, chunks, noise.num_samples);
    input.load(call, task.element);
    Outcome::load(call, task.element, shared);
    __syncthreads();
    Outcome outcome;
    for (int first = task.begin; first < task.end; first += kUnit) {
      const uint32_t first_quad = first + kTogether * threadIdx.x;
      fill_words(noise.points, seed, task.element, n, first_quad, column);
#pragma unroll 1
      for (int q = 0; q < kTogether; ++q) {
        perturb_column<1, T>(noise, input, column + q * n * kThreads, nullptr);
        const bool last = first + kUnit >= task.end && q == kTogether - 1;
        with_size<kMinN, kMaxN>(n, [&](auto size) {
          constexpr int N = decltype(size)::value;
          outcome.template add<N>(call, shared, column + q * N * kThreads, 4 * (first_quad + q),
                                  last);
        });
      }
    }
    outcome.store(call, shared, sums + index * call.outcomes);
  }
}

// What a sample's sum of grad * (outcome - pivot) needs of one element.
template <class T>
struct FewUpstream {
  T grad[kFew * kFew];  // matrices and ranks: [element, rank]; values: [position]
  T pivot[kFew];        // values

  __device__ void load(const SortCall<T>& call, const T* upstream, uint32_t element) {
    const int n = static_cast<int>(call.noise.n), i = threadIdx.x % n, k = threadIdx.x / n;
    const T* const own = upstream + element * call.outcomes;
    if (call.sorting.output == SortOutput::values) {
      load_by_position(call, own, *reinterpret_cast<T(*)[kFew]>(grad));
      load_by_position(call, call.pivot + element * call.outcomes, pivot);
    } else if (k < n) {
      grad[i * n + k] = call.sorting.output == SortOutput::matrix
                            ? (k >= call.sorting.first && k < call.sorting.last
                                   ? own[(k - call.sorting.first) * n + i]
                                   : T(0))
                            : own[i] * (T(k + 1) - call.pivot[element * n + i]);
    }
  }
};

// See sum_few_weights.
template <class T, int kMinN, int kMaxN, bool kScale>
__global__ void __launch_bounds__(kThreads, kBlocks<T, kMaxN, kScale ? 3 : 2>)
    few_weights_kernel(const SortCall<T> call, const Upstream<T> upstream, Chunks chunks,
                       double* __restrict__ sums) {  // [B, chunks, n or 2 n]
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ FewInput<T> input;
  __shared__ FewUpstream<T> shared;
  __shared__ T warp_sums[kWarps][2 * kFew];
  constexpr int kParts = kScale ? 3 : 2;
  const Noise<T>& noise = call.noise;
  const int n = static_cast<int>(noise.n), weights = kScale ? 2 * n : n;
  // [kTogether, n, kThreads], and then the scores and the scale weights of one quad.
  Quad<T>* const column = reinterpret_cast<Quad<T>*>(memory) + threadIdx.x;
  Quad<T>* const weight_column = column + kTogether * n * kThreads;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t seed = *noise.seed;
  const bool values = call.sorting.output == SortOutput::values;
  for (int64_t index = blockIdx.x; index < call.elements * chunks.count; index += gridDim.x) {
    const FewTask task(index, chunks, noise.num_samples);
    const T center = upstream.center[task.element];
    input.load(call, task.element);
    shared.load(call, upstream.grad, task.element);
    __syncthreads();
    T sum[kParts - 1][kMaxN] = {};
    for (int first = task.begin + kTogether * threadIdx.x; first < task.end; first += kUnit) {
      fill_words(noise.points, seed, task.element, n, first, column);
#pragma unroll 1
      for (int q = 0; q < kTogether; ++q) {
        perturb_column<kParts>(noise, input, column + q * n * kThreads, weight_column);
        with_size<kMinN, kMaxN>(n, [&](auto size) {
          constexpr int N = decltype(size)::value;
          T g[4];
          const auto take = [&](int c, T value) {
            g[c] = 4 * (first + q) + c < noise.num_samples ? value - center : T(0);
          };
          if (values) {
            sort_samples<N>(column + q * N * kThreads, [&](int c, const T* sorted) {
              T value = T(0);
              for (int k = 0; k < N; ++k)
                value = fused(shared.grad[k], sorted[k] - shared.pivot[k], value);
              take(c, value);
            });
          } else {
            rank_samples<N>(column + q * N * kThreads, call.sorting.only_first(),
                            [&](int c, const int* rank) {
                              T value = T(0);
                              for (int i = 0; i < N; ++i) value += shared.grad[i * N + rank[i]];
                              take(c, value);
                            });
          }
          for (int part = 0; part < kParts - 1; ++part) {
            for (int j = 0; j < N; ++j) {
              const Quad<T> weight = weight_column[(part * N + j) * kThreads];
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
      for (int w = 0; w < kWarps; ++w) total += warp_sums[w][threadIdx.x];
      sums[index * weights + threadIdx.x] = total;
    }
  }
}

// Calls run(kMinN, kMaxN) with constants. Double precision has one group of sizes: its kernels are
// there to be compared with, not to be the fastest.
template <class T, class F>
void with_sizes(int64_t n, F&& run) {
  if constexpr (sizeof(T) == 8) {
    run(Constant<1>{}, Constant<kFew>{});
  } else if (n <= kFewest) {
    run(Constant<1>{}, Constant<kFewest>{});
  } else {
    run(Constant<kFewest + 1>{}, Constant<kFew>{});
  }
}

// Dynamic shared memory of a block. weights: kinds of weights of f.
int64_t few_bytes(int64_t n, int64_t bytes, int weights) {
  return int64_t(kTogether + weights) * n * kThreads * 4 * bytes;
}
template <class T>
Chunks few_chunks(const SortCall<T>& call) {
  return cut(call.elements, ceil_div(ceil_div(call.noise.num_samples, 4), kUnit));
}

template <class T>
Tensor sum_outcomes(const SortCall<T>& call, const Tensor& x) {
  const Chunks chunks = few_chunks(call);
  const int64_t elements = call.elements, count = chunks.count, m = call.outcomes;
  Tensor sums = torch::stable::new_empty(x, {elements, count, m}, ScalarType::Double);
  const auto run = [&](auto kernel) {
    launch(kernel, elements * count, kThreads, few_bytes(call.noise.n, sizeof(T), 0), x, call,
           chunks, mutable_data<double>(sums));
  };
  if (call.sorting.output == SortOutput::values) {
    run(&few_outcomes_kernel<T, 1, kFew, ValueSums<T, kFew>>);
  } else {
    with_sizes<T>(call.noise.n, [&](auto low, auto high) {
      constexpr int kMinN = decltype(low)::value, kMaxN = decltype(high)::value;
      run(&few_outcomes_kernel<T, kMinN, kMaxN, RankCounts<T, kMaxN>>);
    });
  }
  return sums;
}

template <class T>
Tensor sum_weights(const SortCall<T>& call, const Upstream<T>& upstream, const Tensor& x) {
  const Chunks chunks = few_chunks(call);
  const int64_t elements = call.elements, count = chunks.count, n = call.noise.n;
  const int64_t weights = upstream.scale ? 2 * n : n;
  Tensor sums = torch::stable::new_empty(x, {elements, count, weights}, ScalarType::Double);
  with_sizes<T>(n, [&](auto low, auto high) {
    constexpr int kMinN = decltype(low)::value, kMaxN = decltype(high)::value;
    const auto run = [&](auto kernel) {
      launch(kernel, elements * count, kThreads, few_bytes(n, sizeof(T), upstream.scale ? 2 : 1), x,
             call, upstream, chunks, mutable_data<double>(sums));
    };
    if (upstream.scale) {
      run(&few_weights_kernel<T, kMinN, kMaxN, true>);
    } else {
      run(&few_weights_kernel<T, kMinN, kMaxN, false>);
    }
  });
  return sums;
}

}  // namespace

bool are_few(int64_t n, int64_t bytes, int weights, const Tensor& device) {
  constexpr int64_t declared = 2048;
  static_assert(sizeof(FewInput<double>) + sizeof(FewUpstream<double>) +
                        kWarps * 2 * kFew * sizeof(double) <= declared &&
                    sizeof(FewInput<double>) + sizeof(RankCounts<double, kFew>::Shared) <= declared,
                "what the kernels declare");
  return n <= kFew && few_bytes(n, bytes, weights) <= shared_memory_limit(device) - declared;
}

Tensor sum_few(const SortCall<float>& call, const Tensor& x) { return sum_outcomes(call, x); }
Tensor sum_few(const SortCall<double>& call, const Tensor& x) { return sum_outcomes(call, x); }
Tensor sum_few_weights(const SortCall<float>& call, const Upstream<float>& upstream,
                       const Tensor& x) {
  return sum_weights(call, upstream, x);
}
Tensor sum_few_weights(const SortCall<double>& call, const Upstream<double>& upstream,
                       const Tensor& x) {
  return sum_weights(call, upstream, x);
}

}  // namespace torchsmooth
