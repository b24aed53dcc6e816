// The samples of a batch, and sums over them by torch's threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "parallel.h"

namespace torchsmooth {

// Whether an element's inputs can be smoothed at all; the results of others are NaN.
template <class T>
bool usable(const Noise<T>& noise, int64_t element, const T* x) {
  for (int64_t j = 0; j < noise.n; ++j) {
    const T scale = noise.scale_at(element, j);
    if (!std::isfinite(x[j]) || !std::isfinite(scale) || scale == T(0)) return false;
  }
  return true;
}

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

  const T* row(int64_t element) const { return x + element * noise.n; }

  // Sums over samples: calls kernel(range, sums, scratch), which adds to `size` sums, until all
  // samples of every element are in, and then finish(element, sums). For elements that can't be
  // smoothed sums is null. `cost`: of a sample, in nanoseconds; an element is cut into tasks of no
  // fewer than least_samples.
  template <class Sum, class Kernel, class Finish>
  void reduce(int64_t size, int64_t cost, int64_t scratch_size, Kernel&& kernel,
              Finish&& finish, int64_t least_samples = kLeastSamples) const {
    const int64_t s = noise.num_samples, count = segments(elements, s, least_samples);
    // One task per element needs no sums beyond its own, behind its scratch.
    constexpr int64_t width = sizeof(Sum) > sizeof(T) ? sizeof(Sum) / sizeof(T) : 1;
    // Not a vector: the tasks write zeros, each to its own.
    const std::unique_ptr<Sum[]> all(new Sum[count > 1 ? elements * count * size : 0]);
    parallel_tasks<T>(elements * count, s / count * cost,
                      scratch_size + (count > 1 ? 0 : width * size), [&](int64_t index, T* scratch) {
                        const int64_t element = index / count;
                        const bool good = usable(noise, element, row(element));
                        Sum* const sums = count > 1 ? all.get() + index * size
                                                    : reinterpret_cast<Sum*>(scratch + scratch_size);
                        if (good) {
                          std::fill(sums, sums + size, Sum(0));
                          kernel(segment(element, index % count, count, 0, s), sums, scratch);
                        }
                        if (count == 1) finish(element, good ? sums : nullptr);
                      });
    if (count == 1) return;
    for (int64_t element = 0; element < elements; ++element) {
      Sum* const sums = all.get() + element * count * size;
      const bool good = usable(noise, element, row(element));
      for (int64_t c = 1; good && c < count; ++c) {
        for (int64_t k = 0; k < size; ++k) sums[k] += sums[c * size + k];
      }
      finish(element, good ? sums : nullptr);
    }
  }
};

}  // namespace torchsmooth
