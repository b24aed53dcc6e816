// The arguments of the ops that find shortest paths, checked in one place for all devices.
#pragma once

#include <algorithm>

#include "arguments.h"
#include "memory.h"
#include "../core/algorithms/shortest_path.h"

namespace torchsmooth {

constexpr const char* kSmallerPath = "pass fewer or smaller grids";

// x must be [B, H, W]; its size gives the sizes of the others.
inline Grid check_grid(const Tensor& x, int64_t neighbors, int64_t source, int64_t target,
                       double min_weight) {
  STD_TORCH_CHECK(x.dim() == 3 && x.is_contiguous(),
                  "shortest_path: x must be contiguous of shape [B, H, W], got ", x.dim(),
                  " dimensions");
  const int64_t height = x.size(1), width = x.size(2);
  constexpr int64_t most = int64_t(1) << 28;
  STD_TORCH_CHECK(height < most && width < most && height * width < most,
                  "shortest_path: a grid may have 2^28 cells, got ", height, " x ", width);
  const int64_t cells = height * width;
  STD_TORCH_CHECK(neighbors == 4 || neighbors == 8, "shortest_path: neighbors must be 4 or 8, got ",
                  neighbors);
  const auto inside = [&](int64_t cell) {
    return 0 <= cell && cell < std::max<int64_t>(1, cells);
  };
  STD_TORCH_CHECK(inside(source) && inside(target),
                  "shortest_path: source and target must lie in [0, ", cells, "), got ", source,
                  " and ", target);
  STD_TORCH_CHECK(min_weight >= 0 && std::isfinite(min_weight),
                  "shortest_path: min_weight must be finite and >= 0, got ", min_weight);
  return Grid{static_cast<int32_t>(height), static_cast<int32_t>(width),  neighbors == 8,
              static_cast<int32_t>(source), static_cast<int32_t>(target), min_weight};
}

inline void check_scale_dtype(const Tensor& x, const Tensor& scale) {
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(),
                  "shortest_path: scale must have x's dtype");
}

inline void check_shortest_path_backward(const Tensor& grad, const Tensor& baseline,
                                         const Tensor& x) {
  STD_TORCH_CHECK(grad.dim() == 3 && grad.is_contiguous() && grad.size(0) == x.size(0) &&
                      grad.size(1) == x.size(1) && grad.size(2) == x.size(2),
                  "shortest_path_backward: grad must be contiguous and have the shape of x");
  STD_TORCH_CHECK(baseline.dim() == 1 && baseline.size(0) == x.size(0) && baseline.is_contiguous(),
                  "shortest_path_backward: baseline must be contiguous of shape [B]");
  STD_TORCH_CHECK(grad.scalar_type() == x.scalar_type() &&
                      baseline.scalar_type() == x.scalar_type(),
                  "shortest_path_backward: grad and baseline must have x's dtype");
}

}  // namespace torchsmooth
