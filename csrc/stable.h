// The only home of what the stable ABI of LibTorch makes us write ourselves.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#if defined(USE_CUDA)
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#endif

#include <string>

namespace torchsmooth {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The stable ABI has no dispatch macro that survives a kernel launch in its body: two cases, two
// calls. Python converts half types before it calls an op.
template <class F>
void dispatch_floating(const Tensor& t, const char* name, F&& f) {
  if (t.scalar_type() == ScalarType::Float) {
    f(float{});
  } else {
    STD_TORCH_CHECK(t.scalar_type() == ScalarType::Double, name,
                    " must be float32 or float64: convert it first");
    f(double{});
  }
}

template <class T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
T* mutable_data(Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

#if defined(USE_CUDA)
using torch::stable::accelerator::DeviceGuard;

// Of the tensor's device, which need not be the current one.
inline cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}
#endif

}  // namespace torchsmooth
