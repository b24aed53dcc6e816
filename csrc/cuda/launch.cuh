// What the launchers share: checks, cutting work into blocks, launching.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

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

// From now on a kernel's blocks may have so much dynamic shared memory. What is allowed only grows, so
// that threads of the host that launch one kernel with different sizes do not interfere.
inline void allow_shared_memory(const void* kernel, int64_t bytes, const Tensor& device) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int32_t>, int64_t> allowed;  // by kernel and device
  const std::lock_guard<std::mutex> lock(mutex);
  int64_t& most = allowed[{kernel, device.get_device_index()}];
  if (bytes <= most) return;
  STD_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(bytes)));
  most = bytes;
}

// Blocks walk over their tasks in strides of the grid, so that any number of tasks will do.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t tasks, int threads, int64_t shared_bytes,
            const Tensor& device, Arguments... arguments) {
  constexpr int64_t most_blocks = 0x7FFFFFFF;
  if (shared_bytes > 0)
    allow_shared_memory(reinterpret_cast<const void*>(kernel), shared_bytes, device);
  const unsigned blocks = static_cast<unsigned>(std::min(tasks, most_blocks));
  kernel<<<blocks, threads, shared_bytes, current_stream(device)>>>(arguments...);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

inline int64_t device_attribute(cudaDeviceAttr attribute, const Tensor& device) {
  int value = 0;
  STD_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device.get_device_index()));
  return value;
}

// The most shared memory that a block can have, declared and dynamic together.
inline int64_t shared_memory_limit(const Tensor& device) {
  return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
}

// Scratch in global memory for blocks that find no room in shared memory: for as many blocks as run
// at the same time, and not more than memory has to spare.
struct Workspace {
  int64_t blocks;
  Tensor memory;  // [blocks, bytes_of_block]

  Workspace(int64_t tasks, int64_t bytes_of_block, const Tensor& device)
      : blocks(count(tasks, bytes_of_block, device)),
        memory(torch::stable::new_empty(device, {blocks, bytes_of_block}, ScalarType::Byte)) {}

  unsigned char* data() { return mutable_data<unsigned char>(memory); }

 private:
  static int64_t count(int64_t tasks, int64_t bytes_of_block, const Tensor& device) {
    constexpr int64_t of_multiprocessor = 8, most_bytes = int64_t(1) << 31;
    const int64_t resident =
        of_multiprocessor * device_attribute(cudaDevAttrMultiProcessorCount, device);
    return std::min({tasks, resident, std::max<int64_t>(1, most_bytes / bytes_of_block)});
  }
};

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
