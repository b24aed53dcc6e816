#include <optional>
#include <tuple>

#include "finish.cuh"
#include "sort.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// The outcomes of the unperturbed rows, by counting how many elements come before each. Rows with a
// NaN leave some outcomes as they are: nobody looks at theirs.
template <class T>
__global__ void __launch_bounds__(kThreads)
    pivot_kernel(const SortCall<T> call, T* __restrict__ pivot) {  // [B, outcomes]
  const Sorting sorting = call.sorting;
  const int64_t n = call.noise.n, tiles = ceil_div(n, kThreads);
  for (int64_t task = blockIdx.x; task < call.elements * tiles; task += gridDim.x) {
    const int64_t element = task / tiles, i = task % tiles * kThreads + threadIdx.x;
    if (i >= n) continue;
    const T* const x = call.x + element * n;
    T* const out = pivot + element * call.outcomes;
    const T own = x[i];
    int64_t position = 0;
    for (int64_t j = 0; j < i; ++j) position += !overtakes(own, x[j], sorting.descending);
    for (int64_t j = i + 1; j < n; ++j) position += overtakes(x[j], own, sorting.descending);
    if (sorting.output == SortOutput::ranks) {
      out[i] = static_cast<T>(position + 1);
    } else if (position >= sorting.first && position < sorting.last) {
      out[position - sorting.first] = own;
    }
  }
}

// What is left to subtract from a sample's sum of grad * (outcome - pivot).
template <class T>
__global__ void __launch_bounds__(kThreads)
    center_kernel(int64_t elements, int64_t outcomes,
                  const T* __restrict__ pivot,     // [B, outcomes]
                  const T* __restrict__ grad,      // [B, outcomes]
                  const T* __restrict__ baseline,  // [B]
                  T* __restrict__ center) {        // [B]
  __shared__ double warp_sums[kWarps];
  for (int64_t element = blockIdx.x; element < elements; element += gridDim.x) {
    double sum = 0;
    for (int64_t k = threadIdx.x; k < outcomes; k += kThreads)
      sum += static_cast<double>(grad[element * outcomes + k]) *
             static_cast<double>(pivot[element * outcomes + k]);
    sum = warp_sum(sum);
    if (threadIdx.x % kWarp == 0) warp_sums[threadIdx.x / kWarp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      double total = 0;
      for (int w = 0; w < kWarps; ++w) total += warp_sums[w];
      center[element] = static_cast<T>(baseline[element] - total);
    }
    __syncthreads();
  }
}

// Sets the pivot of a call; the tensor must live as long as the call.
template <class T>
Tensor make_pivot(SortCall<T>& call, const Tensor& x) {
  Tensor pivot = torch::stable::new_empty(x, {call.elements * call.outcomes});
  launch(&pivot_kernel<T>, call.elements * ceil_div(call.noise.n, kThreads), kThreads, 0, x, call,
         mutable_data<T>(pivot));
  call.pivot = data<T>(pivot);
  return pivot;
}

template <class T>
void launch_sort(SortCall<T> call, const Tensor& x, Tensor& outcome) {
  const bool few = are_few(call.noise.n, sizeof(T), 0, x);
  // Few ranks are averaged as counts, which lose nothing.
  const bool pivoted = call.sorting.output == SortOutput::values ||
                       (call.sorting.output == SortOutput::ranks && !few);
  std::optional<Tensor> pivot;
  if (pivoted) pivot = make_pivot(call, x);
  const Tensor sums = few ? sum_few(call, x) : sum_many(call, x);
  if (sums.scalar_type() == ScalarType::Int) {
    finish_mean<uint32_t>(call.noise, call.x, call.pivot, call.elements, sums, x, outcome);
  } else {
    finish_mean<double>(call.noise, call.x, call.pivot, call.elements, sums, x, outcome);
  }
}

template <class T>
void launch_sort_backward(SortCall<T> call, double factor, bool scale, const Tensor& grad,
                          const Tensor& baseline, const Tensor& x, Tensor& grad_x,
                          Tensor& grad_scale) {
  Upstream<T> upstream{data<T>(grad), data<T>(baseline), scale};
  const bool pivoted = call.sorting.output != SortOutput::matrix;
  std::optional<Tensor> pivot;
  Tensor center = torch::stable::new_empty(x, {pivoted ? call.elements : 0});
  if (pivoted) {
    pivot = make_pivot(call, x);
    launch(&center_kernel<T>, call.elements, kThreads, 0, x, call.elements, call.outcomes,
           call.pivot, upstream.grad, upstream.center, mutable_data<T>(center));
    upstream.center = data<T>(center);
  }
  const Tensor sums = are_few(call.noise.n, sizeof(T), scale ? 2 : 1, x)
                          ? sum_few_weights(call, upstream, x)
                          : sum_many_weights(call, upstream, x);
  finish_gradient(call.noise, call.x, call.elements, factor, sums, x, grad_x, grad_scale);
}

std::tuple<Tensor, Tensor, Tensor> sort(Tensor x, Tensor scale, Tensor seed, Tensor directions,
                                        std::string law, std::string sampler, bool antithetic,
                                        int64_t num_samples, bool descending, std::string output,
                                        int64_t first, int64_t last, std::string baseline,
                                        double /*factor*/, double pair_weight,
                                        std::string jacobian_name) {
  const Sorting sorting = check_sorting(x, scale, descending, output, first, last);
  parse_baseline(baseline);
  const Jacobian jacobian = parse_jacobian(jacobian_name);
  STD_TORCH_CHECK(jacobian == Jacobian::none,
                  "sort: there is no Jacobian on CUDA, where drawing the samples again costs less: "
                  "ask for 'none' and use sort_backward; got '",
                  jacobian_name, "'");
  check_device(scale, "sort: scale", x);
  check_noise_devices(seed, directions, x);
  const int64_t elements = x.size(0), n = x.size(1);
  const DeviceGuard guard(x.get_device_index());
  SortResult result(x, sorting, jacobian);
  dispatch_floating(x, "sort: x", [&](auto type) {
    using T = decltype(type);
    const SortCall<T> call{make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, n),
                           sorting, elements, outcome_size(sorting, n), data<T>(x), nullptr};
    if (result.outcome.numel() == 0) return;
    launch_sort(call, x, result.outcome);
  });
  return {result.outcome, result.jacobian_x, result.jacobian_scale};
}

std::tuple<Tensor, Tensor> sort_backward(Tensor grad, Tensor baseline, Tensor x, Tensor scale,
                                         Tensor seed, Tensor directions, std::string law,
                                         std::string sampler, bool antithetic, int64_t num_samples,
                                         bool descending, std::string output, int64_t first,
                                         int64_t last, double factor, double pair_weight,
                                         bool scale_gradient) {
  const Sorting sorting = check_sorting(x, scale, descending, output, first, last);
  check_sort_backward(grad, baseline, x, sorting);
  check_device(grad, "sort_backward: grad", x);
  check_device(baseline, "sort_backward: baseline", x);
  check_device(scale, "sort_backward: scale", x);
  check_noise_devices(seed, directions, x);
  const int64_t elements = x.size(0), n = x.size(1);
  const DeviceGuard guard(x.get_device_index());
  Tensor grad_x = torch::stable::new_empty(x, {elements, n});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? n : 0});
  dispatch_floating(x, "sort_backward: x", [&](auto type) {
    using T = decltype(type);
    const SortCall<T> call{make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, n),
                           sorting, elements, outcome_size(sorting, n), data<T>(x), nullptr};
    if (x.numel() == 0) return;
    launch_sort_backward(call, factor, scale_gradient, grad, baseline, x, grad_x, grad_scale);
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("sort", TORCH_BOX(&torchsmooth::sort));
  m.impl("sort_backward", TORCH_BOX(&torchsmooth::sort_backward));
}
