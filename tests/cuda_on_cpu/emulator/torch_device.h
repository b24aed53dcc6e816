// Tensors on the CPU stand for those of a GPU; what an op allocates is filled with garbage.
#pragma once

// Before __CUDACC__ is defined: the headers of torch are host code.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <optional>

#include "launch.h"

inline AOTITorchError emulated_current_stream(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}

namespace torch::stable {
namespace accelerator {
// Every op has one, before it allocates anything.
struct EmulatedDeviceGuard {
  explicit EmulatedDeviceGuard(int32_t) { emulator::begin_op(); }
  ~EmulatedDeviceGuard() {}
};
}  // namespace accelerator

inline Tensor with_garbage(Tensor t) {
  emulator::fill_garbage(t.mutable_data_ptr(), t.numel() * t.element_size());
  return t;
}
inline Tensor emulated_new_empty(
    const Tensor& self, torch::headeronly::IntHeaderOnlyArrayRef size,
    std::optional<torch::headeronly::ScalarType> dtype = std::nullopt) {
  return with_garbage(new_empty(self, size, dtype));
}
inline Tensor emulated_empty_like(const Tensor& self) { return with_garbage(empty_like(self)); }
}  // namespace torch::stable

#define aoti_torch_get_current_cuda_stream emulated_current_stream
#define DeviceGuard EmulatedDeviceGuard
#define new_empty emulated_new_empty
#define empty_like emulated_empty_like
#define is_cuda is_cpu
