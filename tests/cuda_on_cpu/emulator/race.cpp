// Finds races and reads of memory that nobody has written, in shared and in global memory. The
// kernels of this build are compiled with -fsanitize=thread, which calls a function at every load
// and store. These functions stand here, in the place of ThreadSanitizer's own runtime, which knows
// nothing of blocks and warps.
//
// Two accesses to one word, one of them a store, need an order: the same thread, a barrier of the
// block between them, or, within a warp, a __syncwarp. Shuffles and votes order nothing, as CUDA
// says. Between the blocks of a launch there is no order. Atomic accesses may meet one another.
#include "race.h"

#if defined(EMULATOR_RACE)

#include <dlfcn.h>

#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fiber.h"

namespace emulator::race {
namespace {

constexpr int kReads = 3;  // that a word remembers
constexpr size_t kMostReports = 20;

struct Access {
  uint32_t block = 0;  // counted through all launches; 0: there was none
  uint32_t epoch = 0;  // barriers of its block before it
  uint32_t warp_epoch = 0;
  uint16_t thread = 0;
  bool atomic = false;
  const void* instruction = nullptr;
};

// What is known of four bytes of memory.
struct Word {
  Access write, reads[kReads];
  uint32_t garbage = 0;  // the op that allocated it, until it is written
};
struct Page {
  Word words[1024];
};
std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;

Word& word_at(uintptr_t address) {
  static struct {
    uintptr_t number = ~uintptr_t(0);
    Page* page = nullptr;
  } cache[256];
  const uintptr_t number = address >> 12;
  auto& cached = cache[number % 256];
  if (cached.number != number) {
    std::unique_ptr<Page>& page = pages[number];
    if (!page) page = std::make_unique<Page>();
    cached = {number, page.get()};
  }
  return cached.page->words[(address >> 2) & 1023];
}

uint32_t op_serial = 0, block_serial = 0, first_of_launch = 0;
uint32_t epoch = 0, warp_epochs[32];
const void* kernel_of_launch = nullptr;

struct Range {
  uintptr_t begin, size;
  bool has(uintptr_t address) const { return address - begin < size; }
};
std::vector<Range> shared_ranges;  // of this block, the dynamic one first

std::set<std::pair<const void*, const void*>> reported;
std::vector<std::string> reports;

// What addr2line says about an address, its lines joined.
std::string look_up(const void* address, const char* options, long offset) {
  Dl_info library;
  if (!address || !dladdr(address, &library)) return "?";
  const long at = static_cast<const char*>(address) - static_cast<const char*>(library.dli_fbase);
  char command[1024], line[4096];
  std::snprintf(command, sizeof command, "addr2line %s %s %#lx", options, library.dli_fname,
                at + offset);
  std::string text;
  if (FILE* const pipe = popen(command, "r")) {
    while (std::fgets(line, sizeof line, pipe)) {
      std::string part = line;
      while (!part.empty() && part.back() == '\n') part.pop_back();
      text += (text.empty() ? "" : " < ") + part;
    }
    pclose(pipe);
  }
  return text;
}
// Files and lines of an instruction: its own, and those of the functions that it was inlined into.
// The address is the one that a call returns to, behind the instruction.
std::string place(const void* instruction) { return look_up(instruction, "-ise", -1); }
std::string name_of(const void* kernel) {
  const std::string text = look_up(kernel, "-Cfse", 0);
  return text.substr(0, text.find(" < "));
}

void report(const char* what, uintptr_t address, const Access& before, const Access& now) {
  if (reports.size() >= kMostReports ||
      !reported.insert({before.instruction, now.instruction}).second)
    return;
  std::string where = "global memory";
  for (size_t i = 0; i < shared_ranges.size(); ++i) {
    if (shared_ranges[i].has(address))
      where = std::string(i == 0 ? "dynamic" : "declared") + " shared memory + " +
              std::to_string(address - shared_ranges[i].begin);
  }
  std::string text = std::string(what) + " in " + name_of(kernel_of_launch) + ", " + where +
                     "\n    thread " + std::to_string(now.thread) + " at " + place(now.instruction);
  if (before.instruction)
    text += "\n    thread " + std::to_string(before.thread) +
            (before.block == now.block ? "" : " of another block") + " at " +
            place(before.instruction);
  reports.push_back(text);
}

bool ordered(const Access& before, const Access& now, bool shared) {
  if (before.block == 0) return true;
  if (before.block != now.block) return shared || before.block < first_of_launch;
  if (before.thread == now.thread || before.epoch != now.epoch) return true;
  return before.thread / 32 == now.thread / 32 && before.warp_epoch != now.warp_epoch;
}

// In the place of the thread's own last read, or of one that no later write can race with.
void remember_read(Word& word, const Access& now, bool shared) {
  Access* place = nullptr;
  for (Access& read : word.reads) {
    if (read.block == now.block && read.thread == now.thread) {
      place = &read;
      break;
    }
    const bool past =
        read.block == now.block ? read.epoch != now.epoch : shared || read.block < first_of_launch;
    if (!place && (read.block == 0 || past)) place = &read;
  }
  if (place) *place = now;
}

void access(const void* memory, uint64_t bytes, bool write, bool atomic, const void* instruction) {
  if (!current) return;  // the host's code
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  if (Range{reinterpret_cast<uintptr_t>(current->stack), kStackBytes}.has(address)) return;
  bool shared = false;
  for (const Range& range : shared_ranges) shared |= range.has(address);
  const uint16_t thread = static_cast<uint16_t>(current->thread.x);
  const Access now{block_serial, epoch, warp_epochs[thread / 32], thread, atomic, instruction};
  const auto races_with = [&](const Access& before) {
    return !(atomic && before.atomic) && !ordered(before, now, shared);
  };
  for (uintptr_t at = address & ~uintptr_t(3); at < address + bytes; at += 4) {
    Word& word = word_at(at);
    const bool reads = !write || atomic;
    if (reads && (shared ? word.write.block != block_serial
                         : word.garbage != 0 && word.garbage == op_serial))
      report("a read of what was not written", at, {}, now);
    if (races_with(word.write))
      report(write ? "a race of two writes" : "a race: read after write", at, word.write, now);
    if (write) {
      for (const Access& read : word.reads) {
        if (races_with(read)) report("a race: write after read", at, read, now);
      }
      word.write = now;
      word.garbage = 0;
    }
    if (reads) remember_read(word, now, shared);
  }
}

}  // namespace

void begin_op() { ++op_serial; }
void is_garbage(const void* memory, int64_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  for (uintptr_t at = (begin + 3) & ~uintptr_t(3); at + 4 <= begin + bytes; at += 4)
    word_at(at).garbage = op_serial;
}
void begin_launch(const void* kernel) {
  kernel_of_launch = kernel;
  reported.clear();
  first_of_launch = block_serial + 1;
}
void begin_block(const void* dynamic, int64_t bytes) {
  shared_ranges.assign(1, {reinterpret_cast<uintptr_t>(dynamic), static_cast<uintptr_t>(bytes)});
  ++block_serial;
  epoch = 0;
  for (uint32_t& warp_epoch : warp_epochs) warp_epoch = 0;
}
void declare_shared(const void* variable, int64_t bytes) {
  shared_ranges.push_back({reinterpret_cast<uintptr_t>(variable), static_cast<uintptr_t>(bytes)});
}
void block_barrier() { ++epoch; }
// A barrier of a part of a warp counts for none.
void warp_barrier(unsigned warp, unsigned mask) {
  if (mask == ~0u) ++warp_epochs[warp];
}
void atomic_access(const void* address, uint64_t bytes, const void* instruction) {
  access(address, bytes, true, true, instruction);
}
std::string end_launch() {
  std::string text;
  for (const std::string& one : reports) text += "\n  " + one;
  reports.clear();
  return text;
}

}  // namespace emulator::race

// What the compiler calls.
#define HOOK extern "C" __attribute__((visibility("hidden")))
#define ACCESS(name, bytes, write)                                               \
  HOOK void name(void* p) {                                                      \
    emulator::race::access(p, bytes, write, false, __builtin_return_address(0)); \
  }
#define ACCESSES(bytes)                              \
  ACCESS(__tsan_read##bytes, bytes, false)           \
  ACCESS(__tsan_write##bytes, bytes, true)           \
  ACCESS(__tsan_unaligned_read##bytes, bytes, false) \
  ACCESS(__tsan_unaligned_write##bytes, bytes, true)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
HOOK void __tsan_read_range(void* p, unsigned long bytes) {
  emulator::race::access(p, bytes, false, false, __builtin_return_address(0));
}
HOOK void __tsan_write_range(void* p, unsigned long bytes) {
  emulator::race::access(p, bytes, true, false, __builtin_return_address(0));
}
HOOK void __tsan_vptr_update(void**, void*) {}
HOOK void __tsan_vptr_read(void**) {}
HOOK void __tsan_init() {}
HOOK void __tsan_func_entry(void*) {}
HOOK void __tsan_func_exit() {}
// The host's code: reference counts, and what is initialised once.
HOOK unsigned __tsan_atomic32_fetch_add(volatile unsigned* p, unsigned x, int) {
  return __atomic_fetch_add(p, x, __ATOMIC_SEQ_CST);
}
HOOK unsigned __tsan_atomic32_load(const volatile unsigned* p, int) {
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
HOOK unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) {
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
HOOK unsigned long __tsan_atomic64_load(const volatile unsigned long* p, int) {
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

#endif
