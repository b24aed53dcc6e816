#include <tuple>

#include "device.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kFinishTile = 1024;  // outputs that a block of the finishing kernel writes

// The problem of one call: for each element, [columns] values by [weights] weights, summed over the
// samples of the rows [start, stop).
struct Sums {
  int64_t start;
  int64_t stop;
  int64_t num_samples;
  int64_t first_element;
  int64_t elements;
  int64_t columns;  // the last is that of the weights alone
  int64_t weights;  // n scores, then those of the moment
};

// How the problem is cut into blocks: tiles of columns, of weights and of samples. The threads of a
// block are `lanes` columns by kThreads / lanes groups, which share out the samples of a tile.
template <class T, int kWeights>
struct Cut {
  // As many samples as fill some 24 KB of shared memory.
  static constexpr int kSamples = kWeights > 8 ? 128 : sizeof(T) == 4 ? 512 : 256;
  // On a multiprocessor: what registers are limited to.
  static constexpr int kBlocks = (kWeights > 8 ? 1 : 2) + (sizeof(T) == 4 ? 1 : 0);
  // Step between the samples' weights: rows that are read together begin in different banks.
  static constexpr int kStride = kWeights + 4;

  int lanes;
  int64_t column_tiles;
  int64_t weight_tiles;
  Chunks chunks;

  explicit Cut(const Sums& sums) : lanes(1) {
    while (lanes < sums.columns && lanes < kThreads) lanes *= 2;
    column_tiles = ceil_div(sums.columns, lanes);
    weight_tiles = ceil_div(sums.weights, kWeights);
    // The first sample of a tile is a multiple of 4, so up to 3 samples before the range's.
    const int64_t samples = std::min(sums.num_samples, sums.stop - sums.start + 3);
    chunks = cut(sums.elements * column_tiles * weight_tiles, ceil_div(samples, kSamples));
  }
};

// Calls take(c, weight) for weight k of the four samples of a quad.
template <bool kOuter, bool kMonteCarlo, class T, class F>
__device__ __forceinline__ void quad_weights(const Noise<T>& noise, int64_t seed, int64_t element,
                                             int64_t k, int64_t quad, F&& take) {
  const int64_t n = noise.n;
  if (!kOuter || k < n) {
    const bool is_score = k < n;
    for_quad<true, kMonteCarlo>(
        noise, seed, element, is_score ? k : k - n, quad,
        [&](int c, const Weights<T>& w) { take(c, is_score ? w.score : w.scale); });
    return;
  }
  if constexpr (kOuter) {
    const int64_t i = (k - n) / n, j = (k - n) % n;
    const T diagonal = i == j ? T(1) : T(0);
    T weight[4];
    // First the sample and then, for pairs, its mirror image.
#pragma unroll 1
    for (uint32_t flip = 0;; flip = ~0u) {
      T score[4];
      for_quad<false, false>(noise, seed, element, i, quad,
                             [&](int c, const Weights<T>& w) { score[c] = w.score; }, flip);
      for_quad<false, false>(
          noise, seed, element, j, quad,
          [&](int c, const Weights<T>& w) {
            const T h = score[c] * w.noise - diagonal;
            weight[c] = flip ? fused(noise.pair_weight, weight[c] + h, weight[c]) : h;
          },
          flip);
      if (flip || noise.pair_weight == T(0)) break;
    }
    for (int c = 0; c < 4; ++c) take(c, weight[c]);
  }
}

template <class T, int kWeights, bool kOuter, bool kMonteCarlo>
__global__ void __launch_bounds__(kThreads, kOuter ? 2 : Cut<T, kWeights>::kBlocks)
    reduce_kernel(const Noise<T> noise, const Sums sums, const Cut<T, kWeights> cut,
                  const T* __restrict__ values,      // [stop - start, columns - 1]
                  const T* __restrict__ pivot,       // [B, columns - 1]
                  double* __restrict__ partials) {   // [elements, chunks, weights, columns]
  constexpr int kSamples = Cut<T, kWeights>::kSamples, kStride = Cut<T, kWeights>::kStride;
  __shared__ __align__(16) T weight[kSamples * kStride];
  __shared__ T slice_sums[kThreads];  // [slices, lanes]
  const int64_t m = sums.columns - 1, seed = *noise.seed;
  const int lane = threadIdx.x % cut.lanes, group = threadIdx.x / cut.lanes;
  const int groups = kThreads / cut.lanes;
  const int64_t blocks = cut.column_tiles * cut.weight_tiles * cut.chunks.count;
  for (int64_t task = blockIdx.x; task < sums.elements * blocks; task += gridDim.x) {
    // Blocks of neighbouring numbers read the same values.
    const int64_t first_weight = task % cut.weight_tiles * kWeights;
    const int64_t column = task / cut.weight_tiles % cut.column_tiles * cut.lanes + lane;
    const int64_t chunk = task / (cut.weight_tiles * cut.column_tiles) % cut.chunks.count;
    const int64_t element = sums.first_element + task / blocks;
    const int64_t origin = element * sums.num_samples;
    const int64_t begin = max(int64_t(0), sums.start - origin);
    const int64_t end = min(sums.num_samples, sums.stop - origin);
    const int64_t first_tile = begin / 4 * 4 + chunk * cut.chunks.units * kSamples;
    const int64_t last_tile = min(first_tile + cut.chunks.units * kSamples, end);
    const int count = static_cast<int>(min(int64_t(kWeights), sums.weights - first_weight));
    const bool inside = column < sums.columns;
    const T center = column < m ? pivot[element * m + column] : T(0);

    T total[kWeights] = {};
    for (int64_t first = first_tile; first < last_tile; first += kSamples) {
      for (int item = threadIdx.x; item < count * (kSamples / 4); item += kThreads) {
        const int k = item % count, q = item / count;
        quad_weights<kOuter, kMonteCarlo>(
            noise, seed, element, first_weight + k, first / 4 + q,
            [&](int c, T w) { weight[(4 * q + c) * kStride + k] = w; });
      }
      // What is left of the last tile of weights is summed too, and dropped.
      for (int item = threadIdx.x; item < kSamples * (kWeights - count); item += kThreads)
        weight[item / (kWeights - count) * kStride + count + item % (kWeights - count)] = T(0);
      __syncthreads();
      // Sums of a tile are added to those of the chunk: no sum grows so long that it loses digits.
      T sum[kWeights] = {};
      const int low = static_cast<int>(max(int64_t(0), begin - first));
      const int high = static_cast<int>(min(int64_t(kSamples), end - first));
      if (inside) {
        const T* const column_values = values + (origin + first - sums.start) * m + column;
#pragma unroll 4
        for (int t = group; t < high; t += groups) {
          if (t < low) continue;
          const T value = column < m ? column_values[t * m] - center : T(1);
          for (int k = 0; k < kWeights; ++k)
            sum[k] = fused(value, weight[t * kStride + k], sum[k]);
        }
      }
      for (int k = 0; k < kWeights; ++k) total[k] += sum[k];
      __syncthreads();
    }

    // Over the groups: first those within a warp, then the slices that are left.
    const int slices = cut.lanes < kWarp ? kWarps : groups;
    const int slice = cut.lanes < kWarp ? threadIdx.x / kWarp : group;
    const bool speaks = threadIdx.x % kWarp < cut.lanes || cut.lanes >= kWarp;
    double* const out =
        partials + ((task / blocks * cut.chunks.count + chunk) * sums.weights + first_weight) *
                       sums.columns;
#pragma unroll
    for (int k = 0; k < kWeights; ++k) {
      if (k >= count) continue;
      for (int step = kWarp / 2; step >= cut.lanes; step /= 2)
        total[k] += __shfl_xor_sync(0xFFFFFFFFu, total[k], step);
      if (speaks) slice_sums[slice * cut.lanes + lane] = total[k];
      __syncthreads();
      if (group == 0 && inside) {
        double all = 0;
        for (int s = 0; s < slices; ++s) all += slice_sums[s * cut.lanes + lane];
        out[k * sums.columns + column] = all;
      }
      __syncthreads();
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    reduce_finish_kernel(const Sums sums, int64_t chunks, int64_t n,
                         const double* __restrict__ partials,  // [elements, chunks, weights, columns]
                         T* __restrict__ scores,               // [elements, columns, n]
                         T* __restrict__ products) {           // [elements, columns, weights - n]
  const int64_t outputs = sums.weights * sums.columns, tiles = ceil_div(outputs, kFinishTile);
  const int64_t moments = sums.weights - n;
  for (int64_t task = blockIdx.x; task < sums.elements * tiles; task += gridDim.x) {
    const int64_t element = task / tiles, begin = task % tiles * kFinishTile;
    sum_chunks<kThreads, double>(
        partials + element * chunks * outputs, chunks, outputs, begin,
        min(begin + kFinishTile, outputs), [&](int64_t output, double sum) {
          const int64_t k = output / sums.columns, c = output % sums.columns;
          if (k < n) {
            scores[(element * sums.columns + c) * n + k] = static_cast<T>(sum);
          } else {
            products[(element * sums.columns + c) * moments + k - n] = static_cast<T>(sum);
          }
        });
  }
}

template <class T, int kWeights>
void launch_reduce(const Noise<T>& noise, const Sums& sums, Moment moment, const Tensor& values,
                   const Tensor& pivot, Tensor& scores, Tensor& products) {
  const Cut<T, kWeights> cut(sums);
  const int64_t blocks =
      sums.elements * cut.column_tiles * cut.weight_tiles * cut.chunks.count;
  Tensor partials = torch::stable::new_empty(
      values, {sums.elements, cut.chunks.count, sums.weights, sums.columns}, ScalarType::Double);
  const auto run = [&](auto kernel) {
    launch(kernel, blocks, kThreads, 0, values, noise, sums, cut, data<T>(values), data<T>(pivot),
           mutable_data<double>(partials));
  };
  if (moment == Moment::outer) {
    // So many weights that the noise costs more than the values: tiles need not be large.
    if constexpr (kWeights == 8) run(&reduce_kernel<T, kWeights, true, false>);
  } else {
    with_monte_carlo(noise, [&](auto monte_carlo) {
      run(&reduce_kernel<T, kWeights, false, decltype(monte_carlo)::value>);
    });
  }
  launch(&reduce_finish_kernel<T>,
         sums.elements * ceil_div(sums.weights * sums.columns, kFinishTile), kThreads, 0, values,
         sums, cut.chunks.count, int64_t(noise.n), data<double>(partials), mutable_data<T>(scores),
         mutable_data<T>(products));
}

std::tuple<Tensor, Tensor> reduce(Tensor values, Tensor pivot, Tensor seed, Tensor directions,
                                  std::string law, std::string sampler, bool antithetic,
                                  int64_t num_samples, int64_t n, double pair_weight,
                                  std::string moment_name, int64_t start, int64_t stop) {
  const Moment moment = parse_moment(moment_name);
  STD_TORCH_CHECK(values.dim() == 2 && pivot.dim() == 2,
                  "reduce: values must be [R, M] and pivot [B, M]");
  const int64_t m = values.size(1), elements = pivot.size(0);
  check_rows("reduce", start, stop, elements, n, num_samples);
  check_sums("reduce", moment, n, m);
  check_matrix(values, "reduce: values", stop - start, m);
  check_matrix(pivot, "reduce: pivot", elements, m);
  STD_TORCH_CHECK(pivot.scalar_type() == values.scalar_type(),
                  "reduce: pivot must have the dtype of values");
  check_device(pivot, "reduce: pivot", values);
  check_noise_devices(seed, directions, values);
  const DeviceGuard guard(values.get_device_index());
  const int64_t moments = moment_size(moment, n), columns = m + 1;
  const int64_t first = start / num_samples;
  const int64_t touched = stop > start ? (stop - 1) / num_samples - first + 1 : 0;
  Tensor scores = torch::stable::new_empty(values, {touched, columns, n});
  Tensor products = torch::stable::new_empty(values, {touched, columns, moments});
  dispatch_floating(values, "reduce: values", [&](auto type) {
    using T = decltype(type);
    // The noise is summed at scale 1: any tensor of a scale's shape will do.
    const Noise<T> noise = make_noise<T>(torch::stable::new_empty(values, {1, 1}), seed, directions,
                                         law, sampler, antithetic, num_samples, pair_weight,
                                         elements, n);
    if (scores.numel() == 0) return;
    const Sums sums{start, stop, num_samples, first, touched, columns, n + moments};
    if (sums.weights <= 16 || moment == Moment::outer) {
      launch_reduce<T, 8>(noise, sums, moment, values, pivot, scores, products);
    } else {
      launch_reduce<T, 32>(noise, sums, moment, values, pivot, scores, products);
    }
  });
  return {scores, products};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("reduce", TORCH_BOX(&torchsmooth::reduce));
}
