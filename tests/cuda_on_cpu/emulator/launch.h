// Launches: what a GPU would refuse, shared memory, the blocks one after the other, statistics.
#pragma once

#include <cstdint>

namespace emulator {

struct Launch {
  const void* kernel;
  int64_t blocks;
  int64_t threads;
  int64_t shared_bytes;
  void (*body)(const void* arguments);  // of one thread
  const void* arguments;
};
// Throws where a thread does what CUDA forbids. A launch that a GPU refuses sets the last error.
void run(const Launch& launch);

// Codes of the CUDA runtime.
constexpr int kSuccess = 0, kInvalidValue = 1, kInvalidConfiguration = 9;
int take_last_error();

int shared_limit();  // what a block can ask for
int allow_dynamic_shared(const void* kernel, int64_t bytes);

// Called by threads: the block's dynamic shared memory, and a declaration of a __shared__ variable,
// which every thread passes; the first of a block finds garbage there.
unsigned char* dynamic_shared();
void declare_shared(void* variable, int64_t bytes);

// In how many blocks work is cut, where the code says `blocks`.
int64_t cut(int64_t blocks);

// Tensors: an op begins; a tensor that it allocates is filled with garbage.
void begin_op();
void fill_garbage(void* memory, int64_t bytes);

}  // namespace emulator
