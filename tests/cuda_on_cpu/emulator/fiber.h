// A fiber is a thread of the emulated GPU: a stack that can be left and taken up again.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulator {

struct Dim {
  unsigned x = 0, y = 0, z = 0;
};

// What threads call to meet one another.
enum class Op : int {
  none,
  // The threads of a block.
  syncthreads,
  syncthreads_and,
  syncthreads_or,
  syncthreads_count,
  // The lanes of a warp.
  syncwarp,
  any,
  all,
  ballot,
  reduce_add,
  shuffle_xor,
  shuffle_down,
};

// Where in the source a call stands.
struct Site {
  const char* file = nullptr;
  int line = 0;
};

struct Fiber {
  enum class State { ready, waits_for_block, waits_for_warp, ended };

  Dim thread;  // threadIdx
  State state = State::ended;
  // The call that it waits in.
  Op op = Op::none;
  Site site;
  unsigned mask = 0;   // the lanes that meet
  uint64_t value = 0;  // what it brings, and afterwards what it gets
  int source = 0;      // the lane that a shuffle reads

  unsigned char* stack = nullptr;
  void* stack_pointer = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

// The fiber that runs; null outside kernels.
extern Fiber* current;

constexpr size_t kStackBytes = 256 * 1024;

// Gives the fiber a stack, once. The page below it cannot be touched: an overflow is seen.
void allocate_stack(Fiber& fiber);
// Makes the fiber begin with entry() when it is next resumed; entry must not return.
void restart(Fiber& fiber, void (*entry)());
// Runs the fiber until it suspends.
void resume(Fiber& fiber);
// Called from within a fiber. `for_good`: it will not be resumed.
void suspend(bool for_good = false);
// Called first in every entry function.
void entered();
// After an error fibers are left in the middle: makes their stacks usable again.
void abandon(Fiber& fiber);

}  // namespace emulator
