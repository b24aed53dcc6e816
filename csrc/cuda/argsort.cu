#include <tuple>

#include "argsort_large.cuh"
#include "argsort_small.cuh"

namespace torchsmooth {
namespace {

constexpr int kFinishThreads = 256;

// Outputs of one element that a block of a finishing kernel writes.
constexpr int64_t kFinishTile = 1024;

template <class T>
__global__ void __launch_bounds__(kFinishThreads)
    argsort_finish_kernel(const Noise<T> noise, int64_t elements, int64_t chunks,
                          const T* __restrict__ x,              // [B, n]
                          const uint32_t* __restrict__ counts,  // [B, chunks, n, n]
                          T* __restrict__ matrix) {             // [B, n, n]
  const int64_t n = noise.n, cells = n * n, tiles = ceil_div(cells, kFinishTile);
  for (int64_t task = blockIdx.x; task < elements * tiles; task += gridDim.x) {
    const int64_t element = task / tiles, begin = task % tiles * kFinishTile;
    const bool good = usable(noise, element, x + element * n);
    sum_chunks<kFinishThreads, uint32_t>(
        counts + element * chunks * cells, chunks, cells, begin, min(begin + kFinishTile, cells),
        [&](int64_t cell, uint32_t count) {
          matrix[element * cells + cell] =
              good ? static_cast<T>(static_cast<double>(count) / noise.num_samples)
                   : static_cast<T>(NAN);
        });
  }
}

template <class T>
__global__ void __launch_bounds__(kFinishThreads)
    argsort_backward_finish_kernel(const Noise<T> noise, int64_t elements, int64_t chunks,
                                   int64_t weights, double factor,
                                   const T* __restrict__ x,          // [B, n]
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

// Calls run(kMinN, kMaxN) with constants. Double precision has one group of sizes: its kernels are
// there to be compared with, not to be the fastest.
template <class T, class F>
void with_small_kernel(int64_t n, F&& run) {
  if constexpr (sizeof(T) == 8) {
    run(Constant<1>{}, Constant<kSmall>{});
  } else if (n <= kSmallest) {
    run(Constant<1>{}, Constant<kSmallest>{});
  } else {
    run(Constant<kSmallest + 1>{}, Constant<kSmall>{});
  }
}

// parts: of weights of f.
template <class T>
int64_t small_bytes(const Noise<T>& noise, int parts) {
  return int64_t(kTogether + parts) * noise.n * kSmallThreads * int64_t(sizeof(Quad<T>));
}
template <class T>
Chunks small_chunks(const Noise<T>& noise, int64_t elements) {
  return cut(elements, ceil_div(ceil_div(noise.num_samples, 4), kSmallUnit));
}

struct LargeShape {
  int shift;  // logarithm of the samples of a tile
  int64_t bytes;
};
template <class T>
LargeShape large_shape(const Noise<T>& noise, int parts, int64_t bytes_per_element,
                       const Tensor& device) {
  constexpr int64_t wanted = 48 * 1024;  // leaves room for several blocks on a multiprocessor
  const int64_t limit = shared_memory_limit(device) - 24 * 1024;  // what is declared statically
  const int64_t per_sample = Tile<T>::bytes_per_value(parts);
  const auto bytes = [&](int shift) {
    return int64_t(noise.n) * ((per_sample << shift) + bytes_per_element) + 16;
  };
  int shift = kMostTileShift;
  while (shift > 2 && bytes(shift) > wanted) --shift;
  STD_TORCH_CHECK(bytes(shift) <= limit, "argsort: on this GPU at most ",
                  (limit - 16) / (4 * per_sample + bytes_per_element),
                  " elements can be sorted, because a block keeps four samples of them in its "
                  "shared memory; got ",
                  noise.n);
  return {shift, bytes(shift)};
}

template <class T>
void launch_argsort(const Noise<T>& noise, bool descending, const Tensor& x, Tensor& matrix) {
  const int64_t elements = x.size(0), n = noise.n;
  Chunks chunks{1, 1};
  Tensor counts;
  if (n <= kSmall) {
    chunks = small_chunks(noise, elements);
    counts = torch::stable::new_empty(x, {elements, chunks.count, n, n}, ScalarType::Int);
    with_small_kernel<T>(n, [&](auto low, auto high) {
      launch(&argsort_small_kernel<T, decltype(low)::value, decltype(high)::value>,
             elements * chunks.count, kSmallThreads, small_bytes(noise, 0), x, noise, elements,
             chunks, descending, data<T>(x), mutable_data<uint32_t>(counts));
    });
  } else {
    const LargeShape shape = large_shape(noise, 1, 0, x);
    const Chunks tiles = cut(elements, ceil_div(noise.num_samples, int64_t(1) << shape.shift));
    counts = torch::stable::new_zeros(x, {elements, 1, n, n}, ScalarType::Int);
    launch(&argsort_large_kernel<T>, elements * tiles.count, kLargeThreads, shape.bytes, x, noise,
           elements, tiles, shape.shift, descending, data<T>(x), mutable_data<uint32_t>(counts));
  }
  launch(&argsort_finish_kernel<T>, elements * ceil_div(n * n, kFinishTile), kFinishThreads, 0, x,
         noise, elements, chunks.count, data<T>(x), data<uint32_t>(counts),
         mutable_data<T>(matrix));
}

template <class T, bool kScale>
void launch_argsort_backward(const Noise<T>& noise, bool descending, double factor,
                             const Tensor& grad, const Tensor& baseline, const Tensor& x,
                             Tensor& grad_x, Tensor& grad_scale) {
  constexpr int parts = kScale ? 3 : 2;
  const int64_t elements = x.size(0), n = noise.n, weights = kScale ? 2 * n : n;
  const bool small = n <= kSmall;
  const LargeShape shape =
      small ? LargeShape{} : large_shape(noise, parts, (parts - 1) * 8, x);
  const Chunks chunks = small ? small_chunks(noise, elements)
                              : cut(elements, ceil_div(noise.num_samples, int64_t(1) << shape.shift));
  Tensor sums = torch::stable::new_empty(x, {elements, chunks.count, weights}, ScalarType::Double);
  if (small) {
    with_small_kernel<T>(n, [&](auto low, auto high) {
      launch(&argsort_small_backward_kernel<T, decltype(low)::value, decltype(high)::value, kScale>,
             elements * chunks.count, kSmallThreads, small_bytes(noise, parts - 1), x, noise,
             elements, chunks, descending, data<T>(x), data<T>(grad), data<T>(baseline),
             mutable_data<double>(sums));
    });
  } else {
    launch(&argsort_large_backward_kernel<T, kScale>, elements * chunks.count, kLargeThreads,
           shape.bytes, x, noise, elements, chunks, shape.shift, descending, data<T>(x),
           data<T>(grad), data<T>(baseline), mutable_data<double>(sums));
  }
  launch(&argsort_backward_finish_kernel<T>, elements * ceil_div(weights, kFinishTile),
         kFinishThreads, 0, x, noise, elements, chunks.count, weights, factor, data<T>(x),
         data<double>(sums), mutable_data<T>(grad_x), mutable_data<T>(grad_scale));
}

std::tuple<Tensor, Tensor, Tensor> argsort(Tensor x, Tensor scale, Tensor seed, Tensor directions,
                                           std::string law, std::string sampler, bool antithetic,
                                           int64_t num_samples, bool descending,
                                           std::string baseline_name, double factor,
                                           double pair_weight, std::string jacobian_name) {
  STD_TORCH_CHECK(x.dim() == 2, "argsort: x must be [B, n], got ", x.dim(), " dimensions");
  const int64_t elements = x.size(0), n = x.size(1);
  check_matrix(x, "argsort: x", elements, n);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "argsort: scale must have x's dtype");
  check_device(scale, "argsort: scale", x);
  check_noise_devices(seed, directions, x);
  parse_baseline(baseline_name);
  STD_TORCH_CHECK(parse_jacobian(jacobian_name) == Jacobian::none,
                  "argsort: there is no Jacobian on CUDA; use argsort_backward");
  const DeviceGuard guard(x.get_device_index());
  Tensor matrix = torch::stable::new_empty(x, {elements, n, n});
  dispatch_floating(x, "argsort: x", [&](auto type) {
    using T = decltype(type);
    const Noise<T> noise = make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, n);
    if (x.numel() == 0) return;
    launch_argsort<T>(noise, descending, x, matrix);
  });
  return {matrix, torch::stable::new_empty(x, {0}), torch::stable::new_empty(x, {0})};
}

std::tuple<Tensor, Tensor> argsort_backward(Tensor grad, Tensor baseline, Tensor x, Tensor scale,
                                            Tensor seed, Tensor directions, std::string law,
                                            std::string sampler, bool antithetic,
                                            int64_t num_samples, bool descending, double factor,
                                            double pair_weight, bool scale_gradient) {
  STD_TORCH_CHECK(x.dim() == 2, "argsort_backward: x must be [B, n], got ", x.dim(),
                  " dimensions");
  const int64_t elements = x.size(0), n = x.size(1);
  check_matrix(x, "argsort_backward: x", elements, n);
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == elements && grad.size(1) == n &&
                      grad.size(2) == n && grad.is_contiguous(),
                  "argsort_backward: grad must be contiguous of shape [B, n, n]");
  STD_TORCH_CHECK(baseline.dim() == 1 && baseline.size(0) == elements && baseline.is_contiguous(),
                  "argsort_backward: baseline must be contiguous of shape [B]");
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type() &&
                      baseline.scalar_type() == x.scalar_type() &&
                      scale.scalar_type() == x.scalar_type(),
                  "argsort_backward: grad, baseline and scale must have x's dtype");
  check_device(grad, "argsort_backward: grad", x);
  check_device(baseline, "argsort_backward: baseline", x);
  check_device(scale, "argsort_backward: scale", x);
  check_noise_devices(seed, directions, x);
  const DeviceGuard guard(x.get_device_index());
  Tensor grad_x = torch::stable::new_empty(x, {elements, n});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? n : 0});
  dispatch_floating(x, "argsort_backward: x", [&](auto type) {
    using T = decltype(type);
    const Noise<T> noise = make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, n);
    if (x.numel() == 0) return;
    if (scale_gradient) {
      launch_argsort_backward<T, true>(noise, descending, factor, grad, baseline, x, grad_x,
                                       grad_scale);
    } else {
      launch_argsort_backward<T, false>(noise, descending, factor, grad, baseline, x, grad_x,
                                        grad_scale);
    }
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("argsort", TORCH_BOX(&torchsmooth::argsort));
  m.impl("argsort_backward", TORCH_BOX(&torchsmooth::argsort_backward));
}
