// Settings: environment variables, which are read at every launch.
//
//   EMU_ORDER         up (default), down, random: the order in which the threads of a block run
//   from
//                     barrier to barrier; warps: one warp runs as far as it can, then another, in
//                     random order
//   EMU_SEED          of the random orders
//   EMU_MAX_BLOCKS    the most blocks in a grid: with few, each works on many tasks
//   EMU_CUT           into about how many blocks work is cut (default: what launch.cuh says); with
//                     few, small problems give a block several tiles
//   EMU_SHARED_LIMIT  bytes of shared memory that a block can ask for (default 232448, as on an
//   H100) EMU_POISON        the byte that fills shared memory and new tensors (default 0xFF: NaN,
//   -1)
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace emulator {

inline std::string text_setting(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value && *value ? value : otherwise;
}
inline int64_t number_setting(const char* name, int64_t otherwise) {
  const char* const value = std::getenv(name);
  return value && *value ? std::strtoll(value, nullptr, 0) : otherwise;
}

}  // namespace emulator
