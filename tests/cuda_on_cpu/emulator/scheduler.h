// Runs the threads of one block, one at a time, until each has ended; a thread runs until it must
// wait for others. Only one block of the process runs at a time.
#pragma once

#include <cstdint>
#include <string>

#include "fiber.h"

namespace emulator {

constexpr unsigned kWarp = 32;
constexpr unsigned kMostThreads = 1024;

extern Dim block_index, block_dim, grid_dim;

// The order in which threads run where CUDA leaves it open.
class Order {
 public:
  Order();  // from the settings

  bool blocks_descend() const { return kind_ != Kind::up; }

 private:
  friend void run_block(Order& order, void (*body)(const void*), const void* arguments);
  enum class Kind { up, down, random, warps };
  uint32_t random(uint32_t below);
  template <class T>
  void shuffle(T* values, uint32_t count);

  Kind kind_;
  uint64_t state_;
};

// Every thread of a block of block_dim.x threads calls body(arguments).
void run_block(Order& order, void (*body)(const void*), const void* arguments);

// What went wrong first in the launch that runs, or "".
const std::string& failure();
void fail(const std::string& what);
// Before a launch.
void clear_failure();

// Called by threads.
int block_barrier(Op op, int value, Site site);
uint64_t warp_op(Op op, unsigned mask, uint64_t value, int by, int width, Site site);

}  // namespace emulator
