// Work for torch's threads: tasks that are ranges of samples of one batch element.
#pragma once

#include <algorithm>
#include <memory>

#include "../stable.h"
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
  const int64_t blocks = (end - begin + kLanes - 1) / kLanes;
  const auto cut = [&](int64_t k) { return std::min(end, begin + blocks * k / count * kLanes); };
  return {element, cut(index), cut(index + 1)};
}

// Memory of one thread, on a cache line's boundary.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t size) : memory_(new char[size * sizeof(T) + 64]) {
    void* p = memory_.get();
    std::size_t space = size * sizeof(T) + 64;
    data_ = static_cast<T*>(std::align(64, size * sizeof(T), p, space));
  }
  T* get() { return data_; }

 private:
  std::unique_ptr<char[]> memory_;
  T* data_;
};

// Runs task(index, scratch) for each index; cost: nanoseconds of one task, roughly, so that small
// problems stay on one thread.
template <class T, class F>
void parallel_tasks(int64_t tasks, int64_t cost, int64_t scratch_size, const F& task) {
  if (tasks == 0) return;
  constexpr int64_t least = 20000;  // what waking a thread costs, several times over
  const int64_t grain = std::max<int64_t>(1, least / std::max<int64_t>(1, cost));
  torch::stable::parallel_for(0, tasks, grain, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(scratch_size);
    for (int64_t index = begin; index < end; ++index) task(index, scratch.get());
  });
}

}  // namespace torchsmooth
