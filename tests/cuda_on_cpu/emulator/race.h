// The race detector of one build, see race.cpp. In the other builds all of this does nothing.
#pragma once

#include <cstdint>
#include <string>

namespace emulator::race {

#if defined(EMULATOR_RACE)
void begin_op();
void is_garbage(const void* memory, int64_t bytes);
void begin_launch(const void* kernel);
void begin_block(const void* dynamic, int64_t bytes);
void declare_shared(const void* variable, int64_t bytes);
void block_barrier();
void warp_barrier(unsigned warp, unsigned mask);
void atomic_access(const void* address, uint64_t bytes, const void* instruction);
std::string end_launch();  // what was found, or ""
#else
inline void begin_op() {}
inline void is_garbage(const void*, int64_t) {}
inline void begin_launch(const void*) {}
inline void begin_block(const void*, int64_t) {}
inline void declare_shared(const void*, int64_t) {}
inline void block_barrier() {}
inline void warp_barrier(unsigned, unsigned) {}
inline void atomic_access(const void*, uint64_t, const void*) {}
inline std::string end_launch() { return {}; }
#endif

}  // namespace emulator::race
