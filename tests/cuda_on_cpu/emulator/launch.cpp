#include "launch.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "race.h"
#include "scheduler.h"
#include "settings.h"

namespace emulator {
namespace {

constexpr int64_t kUnasked = 48 * 1024;  // bytes of shared memory that every block has

// What lies behind the dynamic shared memory and must not change. AddressSanitizer watches over the
// end by itself.
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kGuard = 0;
#else
constexpr int64_t kGuard = 256;
#endif
constexpr unsigned char kGuardByte = 0x5A;

std::mutex launch_mutex;
// What kernels have asked for with cudaFuncSetAttribute. Of the process: as on a GPU, another
// thread can change it between a thread's request and its launch.
std::mutex allowed_mutex;
std::map<const void*, int64_t> allowed;
thread_local int last_error = kSuccess;

// Shared memory of the block that runs.
unsigned char* dynamic_memory = nullptr;
std::vector<std::pair<void*, int64_t>> variables;

struct Statistics {
  int64_t launches = 0, blocks = 0, threads = 0;
  int64_t dynamic = 0, declared = 0;  // the most shared memory, bytes
};
std::map<const void*, Statistics> statistics;

uint64_t garbage() {
  return (static_cast<uint64_t>(number_setting("EMU_POISON", 0xFF)) & 0xFF) * 0x0101010101010101ull;
}

// By hand: AddressSanitizer would stop memset at the red zones around variables.
__attribute__((no_sanitize("address"), noinline)) void fill(void* memory, int64_t bytes) {
  const uint64_t word = garbage();
  auto* at = static_cast<volatile unsigned char*>(memory);
  auto* const end = at + bytes;
  for (; at < end && reinterpret_cast<uintptr_t>(at) % 8; ++at) *at = word & 0xFF;
  for (; end - at >= 8; at += 8) *reinterpret_cast<volatile uint64_t*>(at) = word;
  for (; at < end; ++at) *at = word & 0xFF;
}

int64_t allowance(const void* kernel) {
  const std::lock_guard lock(allowed_mutex);
  const auto found = allowed.find(kernel);
  return found == allowed.end() ? 0 : found->second;
}

// No GPU has less than 48 KiB. A lower limit is there to try what kernels do that find no room.
int64_t true_limit() { return std::max<int64_t>(shared_limit(), kUnasked); }

// Bytes that are declared by all threads of a block together.
int64_t declared_bytes() {
  int64_t bytes = 0;
  for (const auto& [variable, size] : variables) bytes += (size + 15) / 16 * 16;
  return bytes;
}

}  // namespace

int take_last_error() { return std::exchange(last_error, kSuccess); }
int shared_limit() { return static_cast<int>(number_setting("EMU_SHARED_LIMIT", 227 * 1024)); }
int64_t cut(int64_t blocks) { return number_setting("EMU_CUT", blocks); }

int allow_dynamic_shared(const void* kernel, int64_t bytes) {
  if (bytes > true_limit()) return kInvalidValue;
  const std::lock_guard lock(allowed_mutex);
  allowed[kernel] = bytes;
  return kSuccess;
}

unsigned char* dynamic_shared() { return dynamic_memory; }

void declare_shared(void* variable, int64_t bytes) {
  for (const auto& [known, size] : variables) {
    if (known == variable) return;
  }
  variables.emplace_back(variable, bytes);
  fill(variable, bytes);
  race::declare_shared(variable, bytes);
}

void run(const Launch& launch) {
  // Threads wait here between their request for shared memory and the launch: if another can take
  // it from them, it will.
  const std::lock_guard lock(launch_mutex);
  const int64_t asked = allowance(launch.kernel);
  if (launch.blocks < 1 || launch.blocks > 0x7FFFFFFF || launch.threads < 1 ||
      launch.threads > kMostThreads) {
    last_error = kInvalidConfiguration;
    return;
  }
  if (launch.shared_bytes > std::max(kUnasked, asked)) {
    last_error = kInvalidValue;
    return;
  }
  const int64_t most_blocks = std::max<int64_t>(1, number_setting("EMU_MAX_BLOCKS", launch.blocks));
  grid_dim = {static_cast<unsigned>(std::min(launch.blocks, most_blocks)), 1, 1};
  block_dim = {static_cast<unsigned>(launch.threads), 1, 1};
  Order order;
  const auto memory = std::make_unique<unsigned char[]>(launch.shared_bytes + kGuard);
  dynamic_memory = memory.get();
  unsigned char* const guard = dynamic_memory + launch.shared_bytes;
  int64_t declared = 0;
  clear_failure();
  race::begin_launch(launch.kernel);
  for (unsigned b = 0; b < grid_dim.x && failure().empty(); ++b) {
    block_index = {order.blocks_descend() ? grid_dim.x - 1 - b : b, 0, 0};
    variables.clear();
    fill(dynamic_memory, launch.shared_bytes);
    race::begin_block(dynamic_memory, launch.shared_bytes);
    std::memset(guard, kGuardByte, kGuard);
    run_block(order, launch.body, launch.arguments);
    if (std::count(guard, guard + kGuard, kGuardByte) != kGuard)
      fail("something was written behind the dynamic shared memory of " +
           std::to_string(launch.shared_bytes) + " bytes");
    declared = std::max(declared, declared_bytes());
  }
  // A GPU knows before the launch what a kernel declares, and would have refused it.
  const int64_t room = asked > 0 ? true_limit() : kUnasked;
  if (declared + launch.shared_bytes > room)
    fail("too much shared memory: " + std::to_string(declared) + " bytes declared and " +
         std::to_string(launch.shared_bytes) + " dynamic, of " + std::to_string(room));
  const std::string races = race::end_launch();
  Statistics& own = statistics[launch.kernel];
  ++own.launches;
  own.blocks += grid_dim.x;
  own.threads = launch.threads;
  own.dynamic = std::max(own.dynamic, launch.shared_bytes);
  own.declared = std::max(own.declared, declared);
  if (!failure().empty()) throw std::runtime_error("emulated kernel: " + failure());
  if (!races.empty()) throw std::runtime_error("emulated kernel: " + races);
}

void begin_op() { race::begin_op(); }
void fill_garbage(void* memory, int64_t bytes) {
  fill(memory, bytes);
  race::is_garbage(memory, bytes);
}

// For Python: a line for each kernel that was launched: its address in the library, launches,
// blocks, threads of a block, and the most dynamic and declared shared memory.
extern "C" __attribute__((visibility("default"))) int emulator_write_statistics(const char* path) {
  FILE* const file = std::fopen(path, "w");
  if (!file) return 1;
  for (const auto& [kernel, count] : statistics) {
    Dl_info library;
    dladdr(kernel, &library);
    const auto address =
        static_cast<const char*>(kernel) - static_cast<const char*>(library.dli_fbase);
    std::fprintf(file, "%ld %ld %ld %ld %ld %ld\n", static_cast<long>(address), count.launches,
                 count.blocks, count.threads, count.dynamic, count.declared);
  }
  return std::fclose(file);
}

}  // namespace emulator
