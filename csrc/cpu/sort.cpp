#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <tuple>
#include <vector>

#include "../ops/sort.h"
#include "samples.h"

namespace torchsmooth {
namespace {

// The outcome of the unperturbed x. `order` has n entries.
template <class T>
void unperturbed(const Sorting& sorting, const T* x, int64_t n, int64_t* order, T* outcome) {
  std::iota(order, order + n, int64_t(0));
  std::stable_sort(order, order + n, [&](int64_t i, int64_t j) {
    return overtakes(x[i], x[j], sorting.descending);
  });
  if (sorting.output == SortOutput::matrix)
    std::fill(outcome, outcome + sorting.positions() * n, T(0));
  for (int64_t k = 0; k < sorting.positions(); ++k) {
    const int64_t i = order[sorting.first + k];
    switch (sorting.output) {
      case SortOutput::matrix:
        outcome[k * n + i] = T(1);
        break;
      case SortOutput::values:
        outcome[k] = x[i];
        break;
      case SortOutput::ranks:
        outcome[i] = static_cast<T>(k + 1);
        break;
    }
  }
}

// The rows of a batch, and how they are sorted.
template <class T>
struct Batch : Samples<T> {
  using Samples<T>::noise, Samples<T>::elements, Samples<T>::finite, Samples<T>::row;

  Sorting sorting;
  // Of all elements, what values and ranks are counted from: their unperturbed outcomes. Their
  // differences keep the digits that large values would lose.
  std::unique_ptr<T[]> pivots;

  Batch(const Noise<T>& noise, const Sorting& sorting, const T* x, int64_t elements)
      : Samples<T>(noise, x, elements), sorting(sorting) {
    if (sorting.output == SortOutput::matrix) return;
    const int64_t m = outcomes();
    pivots = new_array<T>(elements * m, {"the sorted rows", kSmallerSort});
    std::vector<int64_t> order(noise.n);
    for (int64_t element = 0; element < elements; ++element) {
      if (finite[element])
        unperturbed(sorting, row(element), noise.n, order.data(), pivots.get() + element * m);
    }
  }

  int64_t outcomes() const { return outcome_size(sorting, noise.n); }
  const T* pivot(int64_t element) const { return pivots.get() + element * outcomes(); }

  // A sample costs about this many nanoseconds: drawing, and sorting.
  int64_t sample_cost() const {
    const int64_t n = noise.n;
    return 3 * n + (sorting.only_first() ? n : n <= 32 ? n * n / 4 : 2 * n);
  }
};

template <class T>
void forward(const Batch<T>& batch, T* outcome) {
  const int64_t n = batch.noise.n, m = batch.outcomes();
  const double s = batch.noise.num_samples;
  if (batch.sorting.output == SortOutput::matrix) {
    batch.template reduce<uint32_t>(
        m, batch.sample_cost(), {"counting permutations", kSmallerSort},
        [&](Arena& arena) { return SortMatrixScratch<T>::layout(arena, n, batch.sorting); },
        [&](Range range, uint32_t* counts, const SortMatrixScratch<T>& scratch) {
          kernels<T>().sort_matrix(batch.noise, range, batch.sorting, batch.row(range.element),
                                   counts, scratch);
        },
        [&](int64_t element, const uint32_t* counts) {
          T* const out = outcome + element * m;
          if (!counts) return fill_nan(out, m);
          for (int64_t k = 0; k < m; ++k) out[k] = static_cast<T>(counts[k] / s);
        });
    return;
  }
  batch.template reduce<double>(
      m, batch.sample_cost(), {"sorting", kSmallerSort},
      [&](Arena& arena) { return SortVectorScratch<T>::layout(arena, n, m); },
      [&](Range range, double* sums, const SortVectorScratch<T>& scratch) {
        kernels<T>().sort_vector(batch.noise, range, batch.sorting, batch.row(range.element),
                                 batch.pivot(range.element), sums, scratch);
      },
      [&](int64_t element, const double* sums) {
        T* const out = outcome + element * m;
        if (!sums) return fill_nan(out, m);
        for (int64_t k = 0; k < m; ++k)
          out[k] = static_cast<T>(batch.pivot(element)[k] + sums[k] / s);
      });
}

// Where the results of one element go; `scale` is null where nobody asked.
template <class T>
struct Derivatives {
  T* outcome;  // [m]
  T* x;        // [m, n]
  T* scale;    // [m, n]

  Derivatives(T* outcome, T* x, T* scale, int64_t element, int64_t m, int64_t n)
      : outcome(outcome + element * m),
        x(x + element * m * n),
        scale(scale ? scale + element * m * n : nullptr) {}

  void fail(int64_t m, int64_t n) const {
    fill_nan(outcome, m);
    fill_nan(x, m * n);
    if (scale) fill_nan(scale, m * n);
  }
};

// What the sums of products of each dimension are multiplied with: factor / scale.
template <class T>
std::vector<double> multipliers(const Noise<T>& noise, int64_t element, double factor) {
  std::vector<double> by(noise.n);
  for (int64_t j = 0; j < noise.n; ++j) by[j] = factor / noise.scale_at(element, j);
  return by;
}

// From one outcome's sums of products, with n scores or n scale weights, to its derivatives.
template <class T>
void differentiate(const std::vector<double>& by, double center, const double* products,
                   const double* totals, T* out) {
  for (std::size_t j = 0; j < by.size(); ++j)
    out[j] = static_cast<T>(by[j] * (products[j] - center * totals[j]));
}

template <class T>
void matrix_with_jacobian(const Batch<T>& batch, Baseline baseline, double factor, T* outcome,
                          T* jacobian_x, T* jacobian_scale) {
  const int64_t n = batch.noise.n, m = batch.outcomes(), positions = batch.sorting.positions();
  const double s = batch.noise.num_samples;
  const bool scale = jacobian_scale != nullptr;
  const int64_t width = jacobian_width(n, scale), size = (m + 1) * width;
  STD_TORCH_CHECK(sizeof(T) == 8 || n * width <= 0x7FFFFFFFll,
                  "sort: the derivatives of a permutation matrix in float32 need n * n < 2^31 (or 2 "
                  "n * n < 2^31 with those in the scale), got n = ", n);
  batch.template reduce<double>(
      size, batch.sample_cost() + positions * width / 4,
      {"the sums for the derivatives of a permutation matrix", kSmallerSort},
      [&](Arena& arena) {
        return SortMatrixJacobianScratch<T>::layout(arena, n, batch.sorting, scale);
      },
      [&](Range range, double* table, const SortMatrixJacobianScratch<T>& scratch) {
        kernels<T>().sort_matrix_jacobian(batch.noise, range, batch.sorting, scale,
                                          batch.row(range.element), table, scratch);
      },
      [&](int64_t element, const double* table) {
        const Derivatives<T> out(outcome, jacobian_x, jacobian_scale, element, m, n);
        if (!table) return out.fail(m, n);
        const std::vector<double> by = multipliers(batch.noise, element, factor);
        std::vector<double> total(width);
        std::vector<T> base(baseline == Baseline::fx ? m : 0);
        if (baseline == Baseline::fx) {
          std::vector<int64_t> order(n);
          unperturbed(batch.sorting, batch.row(element), n, order.data(), base.data());
        }
        for (int64_t k = 0; k < positions; ++k) {
          // A position is taken by one element in every sample: summed over the elements, the rows
          // are the sums of all weights. Taken from the same table, they cancel exactly where the
          // position always goes to the same element.
          std::fill(total.begin(), total.end(), 0.0);
          for (int64_t i = 0; i < n; ++i) {
            for (int64_t c = 0; c < width; ++c) total[c] += table[(k * n + i) * width + c];
          }
          for (int64_t i = 0; i < n; ++i) {
            const int64_t cell = k * n + i;
            const double* const row = table + cell * width;
            const double share = row[n] / s;
            const double center = baseline == Baseline::mean ? share
                                  : baseline == Baseline::fx ? static_cast<double>(base[cell])
                                                             : 0.0;
            out.outcome[cell] = static_cast<T>(share);
            differentiate(by, center, row, total.data(), out.x + cell * n);
            if (scale)
              differentiate(by, center, row + n + 1, total.data() + n + 1, out.scale + cell * n);
          }
        }
      });
}

template <class T>
void vector_with_jacobian(const Batch<T>& batch, Baseline baseline, double factor, T* outcome,
                          T* jacobian_x, T* jacobian_scale) {
  const int64_t n = batch.noise.n, m = batch.outcomes();
  const double s = batch.noise.num_samples;
  const bool scale = jacobian_scale != nullptr;
  const int64_t weights = scale ? 2 * n : n, columns = weights + 1, size = (m + 1) * columns;
  batch.template reduce<double>(
      size, batch.sample_cost() + m * weights / 8,
      {"the sums for the derivatives of sorted values", kSmallerSort},
      [&](Arena& arena) { return SortVectorScratch<T>::layout(arena, n, size); },
      [&](Range range, double* table, const SortVectorScratch<T>& scratch) {
        kernels<T>().sort_vector_jacobian(batch.noise, range, batch.sorting, scale,
                                          batch.row(range.element), batch.pivot(range.element),
                                          table, scratch);
      },
      [&](int64_t element, const double* table) {
        const Derivatives<T> out(outcome, jacobian_x, jacobian_scale, element, m, n);
        if (!table) return out.fail(m, n);
        const std::vector<double> by = multipliers(batch.noise, element, factor);
        const double* const total = table + m * columns;
        for (int64_t k = 0; k < m; ++k) {
          const double pivot = batch.pivot(element)[k];
          const double* const row = table + k * columns;
          const double mean = row[weights] / s;  // counted from the pivot, as is the center
          const double center = baseline == Baseline::mean ? mean
                                : baseline == Baseline::fx ? 0.0
                                                           : -pivot;
          out.outcome[k] = static_cast<T>(pivot + mean);
          differentiate(by, center, row, total, out.x + k * n);
          if (scale) differentiate(by, center, row + n, total + n, out.scale + k * n);
        }
      });
}

std::tuple<Tensor, Tensor, Tensor> sort(Tensor x, Tensor scale, Tensor seed, Tensor directions,
                                        std::string law, std::string sampler, bool antithetic,
                                        int64_t num_samples, bool descending, std::string output,
                                        int64_t first, int64_t last, std::string baseline_name,
                                        double factor, double pair_weight,
                                        std::string jacobian_name) {
  const Sorting sorting = check_sorting(x, scale, descending, output, first, last);
  const Baseline baseline = parse_baseline(baseline_name);
  const Jacobian jacobian = parse_jacobian(jacobian_name);
  const int64_t elements = x.size(0), n = x.size(1);
  SortResult result(x, sorting, jacobian);
  dispatch_floating(x, "sort: x", [&](auto type) {
    using T = decltype(type);
    const Batch<T> batch(make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                       num_samples, pair_weight, elements, n),
                         sorting, data<T>(x), elements);
    if (batch.outcomes() == 0) return;
    T* const outcome = mutable_data<T>(result.outcome);
    if (jacobian == Jacobian::none) return forward<T>(batch, outcome);
    T* const in_x = mutable_data<T>(result.jacobian_x);
    T* const in_scale =
        jacobian == Jacobian::x_and_scale ? mutable_data<T>(result.jacobian_scale) : nullptr;
    if (sorting.output == SortOutput::matrix) {
      matrix_with_jacobian<T>(batch, baseline, factor, outcome, in_x, in_scale);
    } else {
      vector_with_jacobian<T>(batch, baseline, factor, outcome, in_x, in_scale);
    }
  });
  return {result.outcome, result.jacobian_x, result.jacobian_scale};
}

template <class T>
void backward(const Batch<T>& batch, double factor, const T* grad, const T* baseline, T* grad_x,
              T* grad_scale) {
  const int64_t n = batch.noise.n, m = batch.outcomes(), weights = grad_scale ? 2 * n : n;
  const bool pivoted = batch.sorting.output != SortOutput::matrix;
  batch.template reduce<double>(
      weights, batch.sample_cost(), {"the gradient of a sort", kSmallerSort},
      [&](Arena& arena) { return SortVectorScratch<T>::layout(arena, n, weights); },
      [&](Range range, double* sums, const SortVectorScratch<T>& scratch) {
        const int64_t element = range.element;
        const T* const upstream = grad + element * m;
        const T* const pivot = pivoted ? batch.pivot(element) : nullptr;
        double center = baseline[element];
        for (int64_t k = 0; pivoted && k < m; ++k)
          center -= static_cast<double>(upstream[k]) * static_cast<double>(pivot[k]);
        kernels<T>().sort_backward(batch.noise, range, batch.sorting, grad_scale != nullptr,
                                   batch.row(element), pivot, upstream, static_cast<T>(center),
                                   sums, scratch);
      },
      [&](int64_t element, const double* sums) {
        for (int64_t k = 0; k < weights; ++k) {
          const int64_t j = k % n;
          T* const out = k < n ? grad_x : grad_scale;
          out[element * n + j] =
              sums ? static_cast<T>(factor / batch.noise.scale_at(element, j) * sums[k])
                   : std::numeric_limits<T>::quiet_NaN();
        }
      });
}

std::tuple<Tensor, Tensor> sort_backward(Tensor grad, Tensor baseline, Tensor x, Tensor scale,
                                         Tensor seed, Tensor directions, std::string law,
                                         std::string sampler, bool antithetic, int64_t num_samples,
                                         bool descending, std::string output, int64_t first,
                                         int64_t last, double factor, double pair_weight,
                                         bool scale_gradient) {
  const Sorting sorting = check_sorting(x, scale, descending, output, first, last);
  check_sort_backward(grad, baseline, x, sorting);
  const int64_t elements = x.size(0), n = x.size(1);
  const Purpose purpose{"the gradient of a sort", kSmallerSort};
  Tensor grad_x = new_tensor(x, {elements, n}, purpose);
  Tensor grad_scale = new_tensor(x, {elements, scale_gradient ? n : 0}, purpose);
  dispatch_floating(x, "sort_backward: x", [&](auto type) {
    using T = decltype(type);
    const Batch<T> batch(make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                       num_samples, pair_weight, elements, n),
                         sorting, data<T>(x), elements);
    if (n == 0) return;
    backward<T>(batch, factor, data<T>(grad), data<T>(baseline), mutable_data<T>(grad_x),
                scale_gradient ? mutable_data<T>(grad_scale) : nullptr);
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("sort", TORCH_BOX(&torchsmooth::sort));
  m.impl("sort_backward", TORCH_BOX(&torchsmooth::sort_backward));
}
