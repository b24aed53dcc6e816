#include "../core/evaluate.h"
#include "launch.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    evaluate_law_kernel(Law law, Function function, int64_t size,
                        const T* __restrict__ x,  // [size]
                        T* __restrict__ out) {    // [size]
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < size; i += stride)
    with_law(law, [&](auto l) { out[i] = evaluate<T>(l, function, x[i]); });
}

Tensor evaluate_law(Tensor x, std::string law_name, std::string function_name) {
  const Law law = parse_law(law_name);
  const Function function = parse_function(function_name);
  STD_TORCH_CHECK(x.is_contiguous(), "evaluate_law: x must be contiguous");
  const DeviceGuard guard(x.get_device_index());
  Tensor out = torch::stable::empty_like(x);
  dispatch_floating(x, "evaluate_law: x", [&](auto type) {
    using T = decltype(type);
    const int64_t size = x.numel();
    if (size == 0) return;
    launch(&evaluate_law_kernel<T>, ceil_div(size, kThreads), kThreads, 0, x, law, function, size,
           data<T>(x), mutable_data<T>(out));
  });
  return out;
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("evaluate_law", TORCH_BOX(&torchsmooth::evaluate_law));
}
