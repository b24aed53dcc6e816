// Work for torch's threads: tasks that are ranges of samples of one batch element.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>

#include "../ops/memory.h"
#include "interrupt.h"
#include "kernels.h"

namespace torchsmooth {

// Of cheap samples, so many are worth a task.
constexpr int64_t kLeastSamples = 4096;

// How many tasks a batch element is cut into. It depends on the problem alone and never on the
// number of threads, so that sums are taken in the same order whatever the machine.
inline int64_t segments(int64_t elements, int64_t num_samples, int64_t least_samples = kLeastSamples) {
  constexpr int64_t tasks = 16;
  const int64_t wanted = elements > 0 ? tasks / elements : 1;
  return std::max<int64_t>(1, std::min(wanted, num_samples / least_samples));
}

inline Range segment(int64_t element, int64_t index, int64_t count, int64_t begin, int64_t end) {
  const int64_t blocks = (end - begin + kBlock - 1) / kBlock;
  const auto cut = [&](int64_t k) { return std::min(end, begin + blocks * k / count * kBlock); };
  return {element, cut(index), cut(index + 1)};
}

// The scratch memory of one thread.
class Scratch {
 public:
  // Null if there is not so much.
  explicit Scratch(int64_t bytes) : memory_(new (std::nothrow) char[bytes + Arena::kLine]) {
    void* begin = memory_.get();
    std::size_t space = bytes + Arena::kLine;
    block_ = static_cast<char*>(begin ? std::align(Arena::kLine, bytes, begin, space) : nullptr);
  }
  char* block() const { return block_; }

 private:
  std::unique_ptr<char[]> memory_;
  char* block_;
};

// Runs task(index, arrays, interrupt) for each index, where layout(arena) gives the arrays; cost:
// nanoseconds of one task, roughly, so that small problems stay on one thread. Long tasks are to end
// early when the interrupt has arrived.
template <class Layout, class F>
void parallel_tasks(int64_t tasks, int64_t cost, const Purpose& purpose, const Layout& layout,
                    const F& task) {
  if (tasks == 0) return;
  constexpr int64_t least = 20000;  // what waking a thread costs, several times over
  const int64_t grain = std::max<int64_t>(1, least / std::max<int64_t>(1, cost));
  Arena measured;
  layout(measured);
  const int64_t bytes = measured.bytes();
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  check_main_memory(static_cast<double>(bytes) * static_cast<double>(threads), purpose);
  const Interrupt interrupt(static_cast<double>(tasks) * static_cast<double>(cost) > 1e7);
  std::atomic<bool> failed = false;  // nothing may be thrown from other threads
  torch::stable::parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
    const Scratch scratch(bytes);
    if (!scratch.block()) failed = true;
    for (int64_t index = begin; index < end && !failed && !interrupt.arrived(); ++index) {
      Arena arena(scratch.block());
      task(index, layout(arena), interrupt);
      arena.check();
    }
  });
  if (failed) refuse_memory(static_cast<double>(bytes), purpose);
  STD_TORCH_CHECK(!interrupt.arrived(), "interrupted by a signal");
}

}  // namespace torchsmooth
