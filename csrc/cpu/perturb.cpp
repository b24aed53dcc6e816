#include "../ops/arguments.h"
#include "parallel.h"

namespace torchsmooth {
namespace {

constexpr const char* kFewerRows = "lower chunk_size or num_samples, or pass a smaller batch";

// The rows [start, stop) by blocks of one element each: task(range, offset of the range's rows).
template <class Layout, class F>
void parallel_rows(int64_t start, int64_t stop, int64_t num_samples, int64_t n,
                   const Purpose& purpose, const Layout& layout, const F& task) {
  constexpr int64_t rows_per_task = 1024;
  // Tasks are cut at multiples of rows_per_task within each element.
  const int64_t per_element = (num_samples + rows_per_task - 1) / rows_per_task;
  const int64_t first = start / num_samples * per_element;
  const int64_t last = stop > start ? ((stop - 1) / num_samples + 1) * per_element : first;
  if (n == 0) return;
  parallel_tasks(last - first, 3 * n * std::min(rows_per_task, num_samples), purpose, layout,
                 [&](int64_t index, const auto& arrays, const Interrupt&) {
                   const int64_t element = (first + index) / per_element;
                   const int64_t chunk = (first + index) % per_element * rows_per_task;
                   const int64_t origin = element * num_samples;
                   const int64_t begin = std::max(chunk, start - origin);
                   const int64_t end = std::min({chunk + rows_per_task, num_samples, stop - origin});
                   if (begin < end)
                     task(Range{element, begin, end}, origin + begin - start, arrays);
                 });
}

Tensor words(Tensor seed, Tensor directions, std::string sampler, bool antithetic,
             int64_t num_samples, int64_t n, int64_t start, int64_t stop) {
  STD_TORCH_CHECK(seed.numel() == 1 && seed.scalar_type() == ScalarType::Long,
                  "words: seed must be an int64 tensor of one element");
  STD_TORCH_CHECK(0 <= n && n <= 0xFFFFFFFFll, "words: n must be in [0, 2^32), got ", n);
  check_rows("words", start, stop, kMostElements, n, num_samples);
  const Points points = make_points(directions, sampler, antithetic, num_samples, n);
  const Purpose purpose{"the uniform numbers", kFewerRows};
  Tensor out = new_tensor(seed, {stop - start, n}, purpose);
  int64_t* const result = mutable_data<int64_t>(out);
  const int64_t key = *data<int64_t>(seed);
  const auto kernel = kernels<float>().words;
  const auto nothing = [](Arena&) { return 0; };
  parallel_rows(start, stop, num_samples, n, purpose, nothing,
                [&](Range range, int64_t offset, int) {
                  kernel(points, key, n, range, result + offset * n);
                });
  return out;
}

Tensor perturb(Tensor x, Tensor scale, Tensor seed, Tensor directions, std::string law,
               std::string sampler, bool antithetic, int64_t num_samples, int64_t start,
               int64_t stop) {
  STD_TORCH_CHECK(x.dim() == 2, "perturb: x must be [B, n], got ", x.dim(), " dimensions");
  const int64_t elements = x.size(0), n = x.size(1);
  check_matrix(x, "perturb: x", elements, n);
  check_rows("perturb", start, stop, elements, n, num_samples);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "perturb: scale must have x's dtype");
  const bool is_matrix = scale.dim() == 3;
  STD_TORCH_CHECK(!is_matrix || ((scale.size(0) == 1 || scale.size(0) == elements) &&
                                 scale.size(1) == n && scale.size(2) == n && scale.is_contiguous()),
                  "perturb: a scale matrix must be contiguous of shape [1 or B, n, n]");
  const Purpose purpose{"the perturbed points", kFewerRows};
  Tensor out = new_tensor(x, {stop - start, n}, purpose);
  dispatch_floating(x, "perturb: x", [&](auto type) {
    using T = decltype(type);
    // The kernel does not look at noise.scale when it has a matrix: any tensor of the shape will do.
    const Noise<T> noise =
        make_noise<T>(is_matrix ? x : scale, seed, directions, law, sampler, antithetic,
                      num_samples, 0.0, elements, n);
    const T* const input = data<T>(x);
    const T* const matrix = is_matrix ? data<T>(scale) : nullptr;
    const int64_t matrix_stride = is_matrix && scale.size(0) > 1 ? n * n : 0;
    T* const result = mutable_data<T>(out);
    const auto kernel = kernels<T>().perturb;
    const auto layout = [&](Arena& arena) { return PerturbScratch<T>::layout(arena, n); };
    parallel_rows(start, stop, num_samples, n, purpose, layout,
                  [&](Range range, int64_t offset, const PerturbScratch<T>& scratch) {
                    kernel(noise, range, input + range.element * n,
                           matrix ? matrix + range.element * matrix_stride : nullptr,
                           result + offset * n, scratch);
                  });
  });
  return out;
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("words", TORCH_BOX(&torchsmooth::words));
  m.impl("perturb", TORCH_BOX(&torchsmooth::perturb));
}
