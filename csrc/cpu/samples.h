// The samples of a batch, and sums over them by torch's threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "parallel.h"

namespace torchsmooth {

template <class T>
void fill_nan(T* begin, int64_t size) {
  std::fill(begin, begin + size, std::numeric_limits<T>::quiet_NaN());
}

// The rows of a batch, and the noise that they are perturbed with.
template <class T>
struct Samples {
  Noise<T> noise;
  const T* x;  // [B, n]
  int64_t elements;
  // Whether an element can be smoothed; the results of others are NaN.
  std::vector<char> finite;

  Samples(const Noise<T>& noise, const T* x, int64_t elements)
      : noise(noise), x(x), elements(elements), finite(elements) {
    for (int64_t element = 0; element < elements; ++element) finite[element] = is_finite(element);
  }

  const T* row(int64_t element) const { return x + element * noise.n; }

  // Sums over samples: calls kernel(range, sums, arrays), which adds to `size` sums, until all
  // samples of every element are in, and then store(element, sums). For elements that can't be
  // smoothed sums is null. `cost`: of a sample, in nanoseconds; an element is cut into tasks of no
  // fewer than least_samples. layout: see parallel_tasks.
  template <class Sum, class Layout, class Kernel, class Store>
  void reduce(int64_t size, int64_t cost, const Purpose& purpose, const Layout& layout,
              Kernel&& kernel, Store&& store, int64_t least_samples = kLeastSamples) const {
    const int64_t s = noise.num_samples, count = segments(elements, s, least_samples);
    // One task per element needs no sums beyond its own, in its thread's memory.
    const bool shared = count > 1;
    const std::unique_ptr<Sum[]> all = new_array<Sum>(shared ? elements * count * size : 0, purpose);
    // Between pieces of a task, of some 0.2 s, it is seen whether to go on. They are cut where the
    // kernels flush their sums, so that cutting changes nothing.
    const int64_t piece =
        std::max<int64_t>(1, 200'000'000 / std::max<int64_t>(1, cost) / kFlushed) * kFlushed;
    const auto with_sums = [&](Arena& arena) {
      Sum* const own = arena.array<Sum>(shared ? 0 : size);
      return std::pair(own, layout(arena));
    };
    parallel_tasks(elements * count, s / count * cost, purpose, with_sums,
                   [&](int64_t index, const auto& arrays, const Interrupt& interrupt) {
                     const int64_t element = index / count;
                     Sum* const sums = shared ? all.get() + index * size : arrays.first;
                     if (finite[element]) {
                       std::fill(sums, sums + size, Sum(0));
                       const Range range = segment(element, index % count, count, 0, s);
                       for (int64_t begin = range.begin; begin < range.end && !interrupt.arrived();
                            begin += piece)
                         kernel(Range{element, begin, std::min(begin + piece, range.end)}, sums,
                                arrays.second);
                     }
                     if (!shared && !interrupt.arrived())
                       store(element, finite[element] ? sums : nullptr);
                   });
    if (!shared) return;
    for (int64_t element = 0; element < elements; ++element) {
      Sum* const sums = all.get() + element * count * size;
      for (int64_t c = 1; finite[element] && c < count; ++c) {
        for (int64_t k = 0; k < size; ++k) sums[k] += sums[c * size + k];
      }
      store(element, finite[element] ? sums : nullptr);
    }
  }

 private:
  bool is_finite(int64_t element) const {
    for (int64_t j = 0; j < noise.n; ++j) {
      const T scale = noise.scale_at(element, j);
      if (!std::isfinite(row(element)[j]) || !std::isfinite(scale) || scale == T(0)) return false;
    }
    return true;
  }
};

}  // namespace torchsmooth
