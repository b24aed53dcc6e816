// What nvcc gives to a .cu file, for g++: the vocabulary of CUDA that the kernels use. Included
// first in every translation unit, as nvcc does with its own. What is not here does not compile:
// add it.
#pragma once

#include "torch_device.h"

#include <math.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "launch.h"
#include "race.h"
#include "scheduler.h"

// The language. All of csrc/ is compiled as device code: #if __CUDA_ARCH__ takes the device's
// branch.
#define __CUDACC__ 1
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 900
#endif
#define __host__
#define __device__
#define __global__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

#define threadIdx (emulator::current->thread)
#define blockIdx (emulator::block_index)
#define blockDim (emulator::block_dim)
#define gridDim (emulator::grid_dim)

struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

// Leading zeros, 64 of 0: unlike the function of GCC, which does not say.
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }

// CUDA's own overloads, for two numbers of one type or of two integer types. Of a number and a NaN
// they give the number.
template <class A, class B>
inline std::common_type_t<A, B> min(A a, B b) {
  static_assert(std::is_integral_v<A> == std::is_integral_v<B>);
  if constexpr (std::is_integral_v<A>) {
    static_assert(std::is_signed_v<A> == std::is_signed_v<B>, "CUDA would compare as unsigned");
    return b < a ? b : a;
  } else {
    return std::fmin(a, b);
  }
}
template <class A, class B>
inline std::common_type_t<A, B> max(A a, B b) {
  static_assert(std::is_integral_v<A> == std::is_integral_v<B>);
  if constexpr (std::is_integral_v<A>) {
    static_assert(std::is_signed_v<A> == std::is_signed_v<B>, "CUDA would compare as unsigned");
    return a < b ? b : a;
  } else {
    return std::fmax(a, b);
  }
}

// Where threads meet. The place of the call comes along: they must meet at the same one.
#define SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
inline void __syncthreads(SITE) {
  emulator::block_barrier(emulator::Op::syncthreads, 0, {file, line});
}
inline int __syncthreads_and(int x, SITE) {
  return emulator::block_barrier(emulator::Op::syncthreads_and, x, {file, line});
}
inline int __syncthreads_or(int x, SITE) {
  return emulator::block_barrier(emulator::Op::syncthreads_or, x, {file, line});
}
inline int __syncthreads_count(int x, SITE) {
  return emulator::block_barrier(emulator::Op::syncthreads_count, x, {file, line});
}
inline void __syncwarp(unsigned mask = ~0u, SITE) {
  emulator::warp_op(emulator::Op::syncwarp, mask, 0, 0, 0, {file, line});
}
inline int __any_sync(unsigned mask, int x, SITE) {
  return emulator::warp_op(emulator::Op::any, mask, x != 0, 0, 0, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int x, SITE) {
  return emulator::warp_op(emulator::Op::all, mask, x != 0, 0, 0, {file, line}) != 0;
}
inline unsigned __ballot_sync(unsigned mask, int x, SITE) {
  return static_cast<unsigned>(
      emulator::warp_op(emulator::Op::ballot, mask, x != 0, 0, 0, {file, line}));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned x, SITE) {
  return static_cast<unsigned>(
      emulator::warp_op(emulator::Op::reduce_add, mask, x, 0, 0, {file, line}));
}
namespace emulator {
template <class T>
inline T shuffle(Op op, unsigned mask, T x, int by, int width, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles numbers of 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof(T));
  bits = warp_op(op, mask, bits, by, width, site);
  std::memcpy(&x, &bits, sizeof(T));
  return x;
}
}  // namespace emulator
template <class T>
inline T __shfl_xor_sync(unsigned mask, T x, int by, int width = 32, SITE) {
  return emulator::shuffle(emulator::Op::shuffle_xor, mask, x, by, width, {file, line});
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32, SITE) {
  return emulator::shuffle(emulator::Op::shuffle_down, mask, x, static_cast<int>(by), width,
                           {file, line});
}
#undef SITE

// One thread runs at a time, until it waits: these need not be atomic. The race detector learns
// that they are.
namespace emulator {
template <class T, class F>
__attribute__((noinline, no_sanitize_thread)) T atomic(T* address, F&& change) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned> ||
                    std::is_same_v<T, unsigned long long>,
                "a type of CUDA's integer atomics");
  race::atomic_access(address, sizeof(T), __builtin_return_address(0));
  const T old = *address;
  *address = change(old);
  return old;
}
}  // namespace emulator
template <class T>
inline T atomicAdd(T* address, std::type_identity_t<T> x) {
  return emulator::atomic(address, [x](T old) { return static_cast<T>(old + x); });
}
template <class T>
inline T atomicMax(T* address, std::type_identity_t<T> x) {
  return emulator::atomic(address, [x](T old) { return old < x ? x : old; });
}
template <class T>
inline T atomicOr(T* address, std::type_identity_t<T> x) {
  return emulator::atomic(address, [x](T old) { return old | x; });
}

// The host's side. kernel<<<...>>>(...) has become emulator::launch(kernel, ...), see
// emulator_build.py.
enum cudaError_t : int { cudaSuccess = emulator::kSuccess };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
using cudaStream_t = struct EmulatedStream*;

inline cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  return static_cast<cudaError_t>(emulator::allow_dynamic_shared(kernel, value));
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 2 : emulator::shared_limit();
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() {
  return static_cast<cudaError_t>(emulator::take_last_error());
}

#undef STD_CUDA_CHECK
#undef STD_CUDA_KERNEL_LAUNCH_CHECK
#define STD_CUDA_CHECK(call)                                                               \
  do {                                                                                     \
    if (const cudaError_t error = (call); error != cudaSuccess)                            \
      throw std::runtime_error("CUDA error " + std::to_string(int(error)) + " at " #call); \
  } while (0)
#define STD_CUDA_KERNEL_LAUNCH_CHECK() STD_CUDA_CHECK(cudaGetLastError())

namespace emulator {
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int64_t threads, int64_t shared_bytes,
            cudaStream_t, Arguments... arguments) {
  // Every thread gets parameters of its own: they are passed by value.
  const auto body = [&] { kernel(arguments...); };
  run({reinterpret_cast<const void*>(kernel), blocks, threads, shared_bytes,
       [](const void* b) { (*static_cast<const decltype(body)*>(b))(); }, &body});
}
}  // namespace emulator
