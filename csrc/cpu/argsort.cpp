#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "../arguments.h"
#include "../core/functions/sort.h"
#include "parallel.h"

namespace torchsmooth {
namespace {

// A sample costs about this many nanoseconds: drawing, and sorting.
int64_t sample_cost(int64_t n) { return 3 * n + n * n / 4; }

// Whether an element's inputs can be smoothed at all; the results of others are NaN.
template <class T>
bool usable(const Noise<T>& noise, int64_t element, const T* x) {
  for (int64_t j = 0; j < noise.n; ++j) {
    const T scale = noise.scale_at(element, j);
    if (!std::isfinite(x[j]) || !std::isfinite(scale) || scale == T(0)) return false;
  }
  return true;
}

// 1 at [rank, element] for the unperturbed x.
template <class T>
void hard_permutation(const T* x, int64_t n, bool descending, std::vector<double>& matrix) {
  std::vector<int64_t> rank(n);
  rank_by_counting<1>(x, static_cast<int>(n), descending, rank.data());
  std::fill(matrix.begin(), matrix.end(), 0.0);
  for (int64_t i = 0; i < n; ++i) matrix[rank[i] * n + i] = 1.0;
}

template <class T>
void forward(const Noise<T>& noise, int64_t elements, bool descending, const T* x, T* matrix) {
  const int64_t n = noise.n, s = noise.num_samples, count = segments(elements, s);
  // Counts are integers, so that threads may share them out in any way.
  std::vector<uint32_t> counts(count > 1 ? elements * count * n * n : 0);
  parallel_tasks<T>(
      elements * count, s / count * sample_cost(n), 4 * n * kLanes + n * n,
      [&](int64_t index, T* scratch) {
        const int64_t element = index / count;
        if (!usable(noise, element, x + element * n)) return;
        // The scratch of one task is as large as its counts: both types have 4 bytes at least.
        uint32_t* const own = count > 1 ? counts.data() + index * n * n
                                        : reinterpret_cast<uint32_t*>(scratch + 4 * n * kLanes);
        std::fill(own, own + n * n, 0u);
        kernels<T>().argsort(noise, segment(element, index % count, count, 0, s), descending,
                             x + element * n, own, scratch);
        if (count == 1) {
          for (int64_t k = 0; k < n * n; ++k)
            matrix[element * n * n + k] = static_cast<T>(static_cast<double>(own[k]) / s);
        }
      });
  for (int64_t element = 0; element < elements; ++element) {
    T* const out = matrix + element * n * n;
    if (!usable(noise, element, x + element * n)) {
      std::fill(out, out + n * n, std::numeric_limits<T>::quiet_NaN());
    } else if (count > 1) {
      for (int64_t k = 0; k < n * n; ++k) {
        uint64_t sum = 0;
        for (int64_t c = 0; c < count; ++c) sum += counts[(element * count + c) * n * n + k];
        out[k] = static_cast<T>(static_cast<double>(sum) / s);
      }
    }
  }
}

template <class T>
struct JacobianResult {
  T* matrix;          // [B, n, n]
  T* jacobian_x;      // [B, n, n, n]
  T* jacobian_scale;  // [B, n, n, n] or null
};

// From the table of one element's sums to its results.
template <class T>
void finish(const Noise<T>& noise, int64_t element, bool descending, Baseline baseline,
            double factor, const T* x, const double* table, JacobianResult<T> result) {
  const int64_t n = noise.n, cells = n * n;
  const double s = noise.num_samples;
  const int64_t width = jacobian_width(n, result.jacobian_scale != nullptr);
  T* const out = result.matrix + element * cells;
  T* const out_x = result.jacobian_x + element * cells * n;
  T* const out_scale = result.jacobian_scale ? result.jacobian_scale + element * cells * n : nullptr;
  if (!usable(noise, element, x)) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    std::fill(out, out + cells, nan);
    std::fill(out_x, out_x + cells * n, nan);
    if (out_scale) std::fill(out_scale, out_scale + cells * n, nan);
    return;
  }
  std::vector<double> base(cells), total(width);
  if (baseline == Baseline::fx) hard_permutation(x, n, descending, base);
  for (int64_t i = 0; i < n; ++i) {
    // Summed over the ranks of one element, the rows are the sums of all weights. Taken from the
    // same table, they cancel exactly where the element always has the same rank.
    std::fill(total.begin(), total.end(), 0.0);
    for (int64_t k = 0; k < n; ++k) {
      for (int64_t c = 0; c < width; ++c) total[c] += table[(k * n + i) * width + c];
    }
    for (int64_t k = 0; k < n; ++k) {
      const int64_t cell = k * n + i;
      const double* const row = table + cell * width;
      const double share = row[n] / s;
      out[cell] = static_cast<T>(share);
      const double center = baseline == Baseline::mean ? share : base[cell];
      for (int64_t j = 0; j < n; ++j) {
        const double by = factor / noise.scale_at(element, j);
        out_x[cell * n + j] = static_cast<T>(by * (row[j] - center * total[j]));
        if (out_scale)
          out_scale[cell * n + j] =
              static_cast<T>(by * (row[n + 1 + j] - center * total[n + 1 + j]));
      }
    }
  }
}

template <class T>
void forward_with_jacobian(const Noise<T>& noise, int64_t elements, bool descending,
                           Baseline baseline, double factor, const T* x,
                           JacobianResult<T> result) {
  const int64_t n = noise.n, s = noise.num_samples, count = segments(elements, s);
  const bool scale = result.jacobian_scale != nullptr;
  const int64_t width = jacobian_width(n, scale), size = n * n * width;
  // One task per element needs no table beyond its own, at the end of its scratch.
  std::vector<double> tables(count > 1 ? elements * count * size : 0);
  const int64_t kernel_scratch = 4 * n * kLanes + kLanes * width + 2 * size;
  constexpr int64_t per_double = sizeof(double) / sizeof(T);
  parallel_tasks<T>(
      elements * count, s / count * (sample_cost(n) + n * width / 4),
      kernel_scratch + per_double * size, [&](int64_t index, T* scratch) {
        const int64_t element = index / count;
        const T* const row = x + element * n;
        double* const table = count > 1 ? tables.data() + index * size
                                        : reinterpret_cast<double*>(scratch + kernel_scratch);
        std::fill(table, table + size, 0.0);
        if (usable(noise, element, row))
          kernels<T>().argsort_jacobian(noise, segment(element, index % count, count, 0, s),
                                        descending, scale, row, table, scratch);
        if (count == 1) finish(noise, element, descending, baseline, factor, row, table, result);
      });
  if (count == 1) return;
  for (int64_t element = 0; element < elements; ++element) {
    double* const table = tables.data() + element * count * size;
    for (int64_t c = 1; c < count; ++c) {
      for (int64_t k = 0; k < size; ++k) table[k] += table[c * size + k];
    }
    finish(noise, element, descending, baseline, factor, x + element * n, table, result);
  }
}

std::tuple<Tensor, Tensor, Tensor> argsort(Tensor x, Tensor scale, Tensor seed, Tensor directions,
                                           std::string law, std::string sampler, bool antithetic,
                                           int64_t num_samples, bool descending,
                                           std::string baseline_name, double factor,
                                           double pair_weight, std::string jacobian_name) {
  STD_TORCH_CHECK(x.dim() == 2, "argsort: x must be [B, n], got ", x.dim(), " dimensions");
  const int64_t elements = x.size(0), n = x.size(1);
  check_matrix(x, "argsort: x", elements, n);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "argsort: scale must have x's dtype");
  const Baseline baseline = parse_baseline(baseline_name);
  const Jacobian jacobian = parse_jacobian(jacobian_name);
  Tensor matrix = torch::stable::new_empty(x, {elements, n, n});
  Tensor jacobian_x = jacobian == Jacobian::none
                          ? torch::stable::new_empty(x, {0})
                          : torch::stable::new_empty(x, {elements, n, n, n});
  Tensor jacobian_scale = jacobian == Jacobian::x_and_scale
                              ? torch::stable::new_empty(x, {elements, n, n, n})
                              : torch::stable::new_empty(x, {0});
  dispatch_floating(x, "argsort: x", [&](auto type) {
    using T = decltype(type);
    const Noise<T> noise = make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, n);
    if (jacobian == Jacobian::none) {
      forward<T>(noise, elements, descending, data<T>(x), mutable_data<T>(matrix));
    } else {
      forward_with_jacobian<T>(
          noise, elements, descending, baseline, factor, data<T>(x),
          {mutable_data<T>(matrix), mutable_data<T>(jacobian_x),
           jacobian == Jacobian::x_and_scale ? mutable_data<T>(jacobian_scale) : nullptr});
    }
  });
  return {matrix, jacobian_x, jacobian_scale};
}

std::tuple<Tensor, Tensor> argsort_backward(Tensor grad, Tensor baseline, Tensor x, Tensor scale,
                                            Tensor seed, Tensor directions, std::string law,
                                            std::string sampler, bool antithetic,
                                            int64_t num_samples, bool descending, double factor,
                                            double pair_weight, bool scale_gradient) {
  STD_TORCH_CHECK(x.dim() == 2, "argsort_backward: x must be [B, n], got ", x.dim(),
                  " dimensions");
  const int64_t elements = x.size(0), n = x.size(1);
  check_matrix(x, "argsort_backward: x", elements, n);
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == elements && grad.size(1) == n &&
                      grad.size(2) == n && grad.is_contiguous(),
                  "argsort_backward: grad must be contiguous of shape [B, n, n]");
  STD_TORCH_CHECK(baseline.dim() == 1 && baseline.size(0) == elements && baseline.is_contiguous(),
                  "argsort_backward: baseline must be contiguous of shape [B]");
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type() &&
                      baseline.scalar_type() == x.scalar_type() &&
                      scale.scalar_type() == x.scalar_type(),
                  "argsort_backward: grad, baseline and scale must have x's dtype");
  Tensor grad_x = torch::stable::new_empty(x, {elements, n});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? n : 0});
  dispatch_floating(x, "argsort_backward: x", [&](auto type) {
    using T = decltype(type);
    const Noise<T> noise = make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, n);
    const T* const input = data<T>(x);
    const T* const upstream = data<T>(grad);
    const T* const center = data<T>(baseline);
    T* const out_x = mutable_data<T>(grad_x);
    T* const out_scale = mutable_data<T>(grad_scale);
    const int64_t count = segments(elements, num_samples), weights = scale_gradient ? 2 * n : n;
    std::vector<double> sums(elements * count * weights);
    parallel_tasks<T>(
        elements * count, num_samples / count * sample_cost(n), 4 * n * kLanes + weights,
        [&](int64_t index, T* scratch) {
          const int64_t element = index / count;
          if (!usable(noise, element, input + element * n)) return;
          kernels<T>().argsort_backward(
              noise, segment(element, index % count, count, 0, num_samples), descending,
              scale_gradient, input + element * n, upstream + element * n * n, center[element],
              sums.data() + index * weights, scratch);
        });
    for (int64_t element = 0; element < elements; ++element) {
      const bool good = usable(noise, element, input + element * n);
      for (int64_t k = 0; k < weights; ++k) {
        double sum = good ? 0.0 : std::numeric_limits<double>::quiet_NaN();
        for (int64_t c = 0; c < count; ++c) sum += sums[(element * count + c) * weights + k];
        const int64_t j = k % n;
        T* const out = k < n ? out_x : out_scale;
        out[element * n + j] = static_cast<T>(factor / noise.scale_at(element, j) * sum);
      }
    }
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("argsort", TORCH_BOX(&torchsmooth::argsort));
  m.impl("argsort_backward", TORCH_BOX(&torchsmooth::argsort_backward));
}
