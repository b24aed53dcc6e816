// The arguments of the ops for expected order statistics, checked in one place for all devices.
#pragma once

#include "../core/algorithms/order_statistics.h"
#include "sort.h"

namespace torchsmooth {

inline Sorting check_order(const Tensor& x, const Tensor& scale, bool descending,
                           const std::string& output, int64_t first, int64_t last) {
  const Sorting sorting = check_sorting(x, scale, descending, output, first, last);
  const int64_t elements = x.size(0), n = x.size(1);
  STD_TORCH_CHECK(scale.dim() == 2 && (scale.size(0) == 1 || scale.size(0) == elements) &&
                      (scale.size(1) == 1 || scale.size(1) == n) && scale.is_contiguous(),
                  "order_statistics: scale must be contiguous of shape [1 or ", elements,
                  ", 1 or ", n, "]");
  STD_TORCH_CHECK(n <= 0x7FFFFFFF, "order_statistics: at most 2^31 - 1 elements, got ", n);
  return sorting;
}

inline void check_order_gradient(const Tensor& grad, const Tensor& x, const Sorting& sorting) {
  const std::vector<int64_t> shape = outcome_shape(sorting, x.size(0), x.size(1));
  bool fits = grad.dim() == static_cast<int64_t>(shape.size()) && grad.is_contiguous() &&
              grad.scalar_type() == x.scalar_type();
  for (std::size_t k = 0; fits && k < shape.size(); ++k)
    fits = grad.size(static_cast<int64_t>(k)) == shape[k];
  STD_TORCH_CHECK(fits,
                  "order_statistics_backward: grad must be contiguous and have the shape of the "
                  "outcome and x's dtype");
}

}  // namespace torchsmooth
