// The arguments of the ops that sort, checked in one place for all devices.
#pragma once

#include <vector>

#include "arguments.h"
#include "memory.h"
#include "../core/algorithms/sort.h"

namespace torchsmooth {

// x must be a matrix; its size gives the sizes of the others.
inline Sorting check_sorting(const Tensor& x, const Tensor& scale, bool descending,
                             const std::string& output, int64_t first, int64_t last) {
  constexpr Named<SortOutput> table[] = {{"matrix", SortOutput::matrix},
                                         {"values", SortOutput::values},
                                         {"ranks", SortOutput::ranks}};
  const Sorting sorting{parse_named(table, "output", output), descending, first, last};
  STD_TORCH_CHECK(x.dim() == 2, "sort: x must be [B, n], got ", x.dim(), " dimensions");
  const int64_t n = x.size(1);
  check_matrix(x, "sort: x", x.size(0), n);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "sort: scale must have x's dtype");
  STD_TORCH_CHECK(n <= 0x7FFFFFFFll, "sort: x may have 2^31 - 1 elements in a row, got ", n);
  STD_TORCH_CHECK(0 <= first && first <= last && last <= n, "sort: positions must lie in [0, ", n,
                  "), got [", first, ", ", last, ")");
  STD_TORCH_CHECK(sorting.output != SortOutput::ranks || sorting.positions() == n,
                  "sort: ranks are there for all positions only, [0, ", n, "), got [", first, ", ",
                  last, ")");
  return sorting;
}

// Numbers that one sample gives.
inline int64_t outcome_size(const Sorting& sorting, int64_t n) {
  return sorting.output == SortOutput::matrix ? sorting.positions() * n : sorting.positions();
}

// [elements, *outcome]
inline std::vector<int64_t> outcome_shape(const Sorting& sorting, int64_t elements, int64_t n) {
  if (sorting.output == SortOutput::matrix) return {elements, sorting.positions(), n};
  return {elements, sorting.positions()};
}

constexpr const char* kSmallerSort =
    "pass fewer or shorter rows, or ask for fewer positions";

// What the forward op returns: the mean outcome, and its derivatives [elements, *outcome, n] in x
// and in the scale, or empty tensors in their places.
struct SortResult {
  Tensor outcome;
  Tensor jacobian_x;
  Tensor jacobian_scale;

  SortResult(const Tensor& x, const Sorting& sorting, Jacobian jacobian)
      : outcome(new_tensor(x, outcome_shape(sorting, x.size(0), x.size(1)),
                           {"the sorted outcome", kSmallerSort})),
        jacobian_x(derivative(x, sorting, jacobian != Jacobian::none)),
        jacobian_scale(derivative(x, sorting, jacobian == Jacobian::x_and_scale)) {}

 private:
  static Tensor derivative(const Tensor& x, const Sorting& sorting, bool wanted) {
    if (!wanted) return torch::stable::new_empty(x, {0});
    std::vector<int64_t> shape = outcome_shape(sorting, x.size(0), x.size(1));
    shape.push_back(x.size(1));
    return new_tensor(x, shape, {"the derivatives of the sorted outcome", kSmallerSort});
  }
};

inline void check_sort_backward(const Tensor& grad, const Tensor& baseline, const Tensor& x,
                                const Sorting& sorting) {
  const std::vector<int64_t> shape = outcome_shape(sorting, x.size(0), x.size(1));
  bool fits = grad.dim() == static_cast<int64_t>(shape.size()) && grad.is_contiguous();
  for (std::size_t k = 0; fits && k < shape.size(); ++k)
    fits = grad.size(static_cast<int64_t>(k)) == shape[k];
  STD_TORCH_CHECK(fits, "sort_backward: grad must be contiguous and have the shape of the outcome");
  STD_TORCH_CHECK(baseline.dim() == 1 && baseline.size(0) == x.size(0) && baseline.is_contiguous(),
                  "sort_backward: baseline must be contiguous of shape [B]");
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type() &&
                      baseline.scalar_type() == x.scalar_type(),
                  "sort_backward: grad and baseline must have x's dtype");
}

}  // namespace torchsmooth
