#include <algorithm>
#include <cmath>
#include <tuple>

#include "../ops/shortest_path.h"
#include "samples.h"

namespace torchsmooth {
namespace {

// What finding one path takes, in nanoseconds: drawing the noise, and some sweeps.
int64_t path_cost(const Grid& grid) { return 6 * int64_t(grid.cells()); }

// A sample takes so long that ranges of a few blocks are worth a thread.
int64_t least_samples(const Grid& grid) {
  constexpr int64_t nanoseconds = 100000;
  return std::max<int64_t>(kBlock, nanoseconds / std::max<int64_t>(1, path_cost(grid)));
}

Tensor hard_shortest_path(Tensor weights, int64_t neighbors, int64_t source, int64_t target,
                          double min_weight) {
  const Grid grid = check_grid(weights, neighbors, source, target, min_weight);
  const int64_t rows = weights.size(0), n = grid.cells();
  const Purpose purpose{"finding shortest paths", kSmallerPath};
  Tensor path = new_tensor(weights, {rows, grid.height, grid.width}, purpose);
  dispatch_floating(weights, "hard_shortest_path: weights", [&](auto type) {
    using T = decltype(type);
    if (n == 0) return;
    const T* const input = data<T>(weights);
    T* const output = mutable_data<T>(path);
    const bool searched = grids_are_searched(grid, std::min<int64_t>(rows, kPathGrids));
    const int64_t together = searched ? 1 : kPathGrids;
    const auto layout = [&](Arena& arena) {
      return PathScratch<T>::layout(arena, grid, searched ? 0 : kPathGrids);
    };
    parallel_tasks((rows + together - 1) / together, together * path_cost(grid), purpose, layout,
                   [&](int64_t task, const PathScratch<T>& scratch, const Interrupt&) {
                     const int64_t first = task * together;
                     const int64_t count = std::min(together, rows - first);
                     const T* const in = input + first * n;
                     T* const out = output + first * n;
                     kernels<T>().hard_shortest_path(grid, count, in, out, scratch);
                     for (int64_t k = 0; k < count; ++k) {
                       if (!std::all_of(in + k * n, in + (k + 1) * n,
                                        [](T w) { return std::isfinite(w); }))
                         fill_nan(out + k * n, n);
                     }
                   });
  });
  return path;
}

Tensor shortest_path(Tensor x, Tensor scale, Tensor seed, Tensor directions, std::string law,
                     std::string sampler, bool antithetic, int64_t num_samples, int64_t neighbors,
                     int64_t source, int64_t target, double min_weight) {
  const Grid grid = check_grid(x, neighbors, source, target, min_weight);
  check_scale_dtype(x, scale);
  const int64_t elements = x.size(0), n = grid.cells();
  const Purpose purpose{"the mean of shortest paths", kSmallerPath};
  Tensor mean = new_tensor(x, {elements, grid.height, grid.width}, purpose);
  dispatch_floating(x, "shortest_path: x", [&](auto type) {
    using T = decltype(type);
    const Samples<T> samples(make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                           num_samples, 0.0, elements, n),
                             data<T>(x), elements);
    if (n == 0) return;
    T* const result = mutable_data<T>(mean);
    samples.template reduce<uint32_t>(
        n, path_cost(grid), purpose,
        [&](Arena& arena) { return PathScratch<T>::layout(arena, grid, kBlock); },
        [&](Range range, uint32_t* counts, const PathScratch<T>& scratch) {
          kernels<T>().shortest_path(samples.noise, range, grid, samples.row(range.element), counts,
                                     scratch);
        },
        [&](int64_t element, const uint32_t* counts) {
          T* const out = result + element * n;
          if (!counts) return fill_nan(out, n);
          for (int64_t k = 0; k < n; ++k)
            out[k] = static_cast<T>(counts[k] / static_cast<double>(num_samples));
        },
        least_samples(grid));
  });
  return mean;
}

std::tuple<Tensor, Tensor> shortest_path_backward(
    Tensor grad, Tensor baseline, Tensor x, Tensor scale, Tensor seed, Tensor directions,
    std::string law, std::string sampler, bool antithetic, int64_t num_samples, int64_t neighbors,
    int64_t source, int64_t target, double min_weight, double factor, double pair_weight,
    bool scale_gradient) {
  const Grid grid = check_grid(x, neighbors, source, target, min_weight);
  check_scale_dtype(x, scale);
  check_shortest_path_backward(grad, baseline, x);
  const int64_t elements = x.size(0), n = grid.cells();
  const Purpose purpose{"the gradient of shortest paths", kSmallerPath};
  Tensor grad_x = new_tensor(x, {elements, grid.height, grid.width}, purpose);
  Tensor grad_scale = new_tensor(x, {elements, scale_gradient ? n : 0}, purpose);
  dispatch_floating(x, "shortest_path_backward: x", [&](auto type) {
    using T = decltype(type);
    const Samples<T> samples(make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                           num_samples, pair_weight, elements, n),
                             data<T>(x), elements);
    if (n == 0) return;
    const T* const upstream = data<T>(grad);
    const T* const center = data<T>(baseline);
    T* const in_x = mutable_data<T>(grad_x);
    T* const in_scale = scale_gradient ? mutable_data<T>(grad_scale) : nullptr;
    const int64_t weights = scale_gradient ? 2 * n : n;
    samples.template reduce<double>(
        weights, path_cost(grid), purpose,
        [&](Arena& arena) { return PathBackwardScratch<T>::layout(arena, grid, weights); },
        [&](Range range, double* sums, const PathBackwardScratch<T>& scratch) {
          const int64_t element = range.element;
          kernels<T>().shortest_path_backward(samples.noise, range, grid, scale_gradient,
                                              samples.row(element), upstream + element * n,
                                              center[element], sums, scratch);
        },
        [&](int64_t element, const double* sums) {
          for (int64_t k = 0; k < weights; ++k) {
            const int64_t j = k % n;
            T* const out = (k < n ? in_x : in_scale) + element * n + j;
            *out = sums ? static_cast<T>(factor / samples.noise.scale_at(element, j) * sums[k])
                        : std::numeric_limits<T>::quiet_NaN();
          }
        },
        least_samples(grid));
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("hard_shortest_path", TORCH_BOX(&torchsmooth::hard_shortest_path));
  m.impl("shortest_path", TORCH_BOX(&torchsmooth::shortest_path));
  m.impl("shortest_path_backward", TORCH_BOX(&torchsmooth::shortest_path_backward));
}
