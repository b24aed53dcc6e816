#include <algorithm>
#include <memory>
#include <tuple>

#include "../ops/arguments.h"
#include "parallel.h"

namespace torchsmooth {
namespace {

std::tuple<Tensor, Tensor> reduce(Tensor values, Tensor pivot, Tensor seed, Tensor directions,
                                  std::string law, std::string sampler, bool antithetic,
                                  int64_t num_samples, int64_t n, double pair_weight,
                                  std::string moment_name, int64_t start, int64_t stop) {
  const Moment moment = parse_moment(moment_name);
  STD_TORCH_CHECK(values.dim() == 2 && pivot.dim() == 2,
                  "reduce: values must be [R, M] and pivot [B, M]");
  const int64_t m = values.size(1), elements = pivot.size(0);
  check_rows("reduce", start, stop, elements, n, num_samples);
  check_sums("reduce", moment, n, m);
  check_matrix(values, "reduce: values", stop - start, m);
  check_matrix(pivot, "reduce: pivot", elements, m);
  STD_TORCH_CHECK(pivot.scalar_type() == values.scalar_type(),
                  "reduce: pivot must have the dtype of values");
  const int64_t moments = moment_size(moment, n), columns = m + 1;
  const int64_t first = start / num_samples;
  const int64_t touched = stop > start ? (stop - 1) / num_samples - first + 1 : 0;
  const Purpose purpose{"the sums of products of outputs and scores",
                        "pass fewer inputs or outputs at a time, or a scale that is no matrix"};
  Tensor scores = new_tensor(values, {touched, columns, n}, purpose);
  Tensor products = new_tensor(values, {touched, columns, moments}, purpose);
  dispatch_floating(values, "reduce: values", [&](auto type) {
    using T = decltype(type);
    // The noise is summed at scale 1: any tensor of a scale's shape will do.
    const Noise<T> noise = make_noise<T>(torch::stable::new_empty(values, {1, 1}), seed, directions,
                                         law, sampler, antithetic, num_samples, pair_weight,
                                         elements, n);
    const T* const input = data<T>(values);
    const T* const center = data<T>(pivot);
    T* const score_out = mutable_data<T>(scores);
    T* const moment_out = mutable_data<T>(products);
    const int64_t count = segments(touched, num_samples), size = (n + moments) * columns;
    const std::unique_ptr<double[]> sums = new_array<double>(touched * count * size, purpose);
    std::fill_n(sums.get(), touched * count * size, 0.0);
    const int64_t work = std::min(stop - start, num_samples) / count;
    parallel_tasks(
        touched * count, work * (3 * n + size / 4), purpose,
        [&](Arena& arena) { return ReduceScratch<T>::layout(arena, n, n + moments, m); },
        [&](int64_t index, const ReduceScratch<T>& scratch, const Interrupt&) {
          const int64_t element = first + index / count, origin = element * num_samples;
          const Range range = segment(element, index % count, count,
                                      std::max<int64_t>(0, start - origin),
                                      std::min(num_samples, stop - origin));
          if (range.begin < range.end)
            kernels<T>().reduce(noise, range, moment, m, input + (origin + range.begin - start) * m,
                                center + element * m, sums.get() + index * size, scratch);
        });
    for (int64_t e = 0; e < touched; ++e) {
      for (int64_t k = 0; k < n + moments; ++k) {
        for (int64_t c = 0; c < columns; ++c) {
          double sum = 0;
          for (int64_t s = 0; s < count; ++s)
            sum += sums[(e * count + s) * size + k * columns + c];
          if (k < n) {
            score_out[(e * columns + c) * n + k] = static_cast<T>(sum);
          } else {
            moment_out[(e * columns + c) * moments + k - n] = static_cast<T>(sum);
          }
        }
      }
    }
  });
  return {scores, products};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) { m.impl("reduce", TORCH_BOX(&torchsmooth::reduce)); }
