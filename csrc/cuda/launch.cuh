// What the launchers share: checks, cutting work into blocks, launching.
#pragma once

#include <algorithm>

#include "../ops/arguments.h"

namespace torchsmooth {

constexpr int kWarp = 32;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Tensors that a kernel reads must lie on the device that it runs on: a pointer into the host's
// memory would be an error that no one can trace.
inline void check_device(const Tensor& t, const char* name, const Tensor& reference) {
  STD_TORCH_CHECK(t.is_cuda() && t.get_device_index() == reference.get_device_index(), name,
                  " must be on cuda:", reference.get_device_index(), " like the other tensors");
}
inline void check_noise_devices(const Tensor& seed, const Tensor& directions,
                                const Tensor& reference) {
  check_device(seed, "seed", reference);
  if (directions.numel() > 0) check_device(directions, "directions", reference);
}

// Blocks walk over their tasks in strides of the grid, so that any number of tasks will do.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t tasks, int threads, int64_t shared_bytes,
            const Tensor& device, Arguments... arguments) {
  // A block gets 48 KiB without asking; what its kernel declares, 24 KiB at most, is a part of them.
  constexpr int64_t most_blocks = 0x7FFFFFFF, unasked_shared_bytes = 24 * 1024;
  if (shared_bytes > unasked_shared_bytes) {
    STD_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shared_bytes)));
  }
  const unsigned blocks = static_cast<unsigned>(std::min(tasks, most_blocks));
  kernel<<<blocks, threads, shared_bytes, current_stream(device)>>>(arguments...);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// The most shared memory that a block can ask for.
inline int64_t shared_memory_limit(const Tensor& device) {
  int bytes = 0;
  STD_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                        device.get_device_index()));
  return bytes;
}

// Each element's units of work are cut into `count` chunks of `units` (the last may be shorter),
// one per block. The cut depends on the problem alone and never on the GPU, so that sums are taken
// in the same order whatever the machine.
struct Chunks {
  int64_t count;
  int64_t units;
};
inline Chunks cut(int64_t elements, int64_t units) {
  // Enough blocks to fill the largest GPUs more than once, so that they end about together.
  constexpr int64_t blocks = 2048;
  const int64_t per_chunk = std::max<int64_t>(1, ceil_div(elements * units, blocks));
  return {std::max<int64_t>(1, ceil_div(units, per_chunk)), per_chunk};
}

}  // namespace torchsmooth
