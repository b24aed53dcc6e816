#include "../ops/order_statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>
#include <vector>

#include "samples.h"

namespace torchsmooth {
namespace {

// The rows of a batch, and what of them is wanted.
template <class T>
struct Batch {
  Law law;
  Sorting sorting;
  const T* x;      // [elements, n]
  const T* scale;  // scale[element * element_stride + i * dimension_stride]
  int64_t elements, n, element_stride, dimension_stride;
  PanelRule rule;
  Window window;

  Batch(const std::string& law_name, const Sorting& sorting, const Tensor& x, const Tensor& scale)
      : law(parse_law(law_name)),
        sorting(sorting),
        x(data<T>(x)),
        scale(data<T>(scale)),
        elements(x.size(0)),
        n(x.size(1)),
        element_stride(scale.size(0) == 1 ? 0 : scale.size(1)),
        dimension_stride(scale.size(1) == 1 ? 0 : 1) {
    with_law(law, [&](auto l) {
      rule = decltype(l)::template panels<T>();
      window = torchsmooth::window<T>(l, std::max<int64_t>(1, n));
    });
  }

  const T* row(int64_t element) const { return x + element * n; }
  T scale_at(int64_t element, int64_t i) const {
    return scale[element * element_stride + i * dimension_stride];
  }
  int64_t outcomes() const { return outcome_size(sorting, n); }
  // Of a row, in nanoseconds, roughly.
  int64_t cost() const {
    const int64_t nodes = 6, few = std::min<int64_t>(n, 1000);
    const bool counts = sorting.output == SortOutput::matrix && !sorting.only_first();
    return 200 + nodes * (counts || sorting.output == SortOutput::values ? n * few : 10 * n);
  }
};

// What one thread needs for a row.
template <class T>
class RowMemory {
 public:
  explicit RowMemory(const Batch<T>& batch)
      : batch_(batch),
        order_(batch.n),
        axis_(static_cast<std::size_t>(axis_size(batch.n))),
        indices_(static_cast<std::size_t>(kMostGroups * 2 * batch.n)),
        scratch_(order_scratch(OrderTask{contest(batch.n), SortOutput::matrix, groups()}) *
                 static_cast<int64_t>(sizeof(T))) {}

  // Sorts the row; false if it has no order.
  bool load(int64_t element) {
    const int64_t n = batch_.n;
    const T* const x = batch_.row(element);
    for (int64_t i = 0; i < n; ++i) {
      const T scale = batch_.scale_at(element, i);
      if (std::isnan(x[i]) || !std::isfinite(scale) || !(scale > T(0))) return false;
    }
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(),
              [&](int32_t i, int32_t j) { return x[i] < x[j] || (x[i] == x[j] && i < j); });
    int64_t lows = 0, highs = 0;
    while (lows < n && std::isinf(x[order_[lows]]) && x[order_[lows]] < T(0)) ++lows;
    while (highs < n - lows && std::isinf(x[order_[n - 1 - highs]])) ++highs;
    standing_ = Standing{lows, n - lows - highs, highs, batch_.sorting.descending,
                         batch_.sorting.first, batch_.sorting.last};
    contest_ = contest(standing_.finite);
    if (batch_.sorting.output == SortOutput::ranks) {
      contest_.first = 0;
      contest_.last = standing_.finite;
    } else {
      contest_.first = standing_.begin();
      contest_.last = standing_.end();
    }
    const Axis& axis = contest_.axis;
    unit_ = fill_axis(axis, [&](int64_t j) { return static_cast<double>(x[source(j)]); },
              [&](int64_t j) { return static_cast<double>(batch_.scale_at(element, source(j))); });
    const int kinks = batch_.rule.kinks;
    fill_kinks(batch_.rule, axis);
    if (kinks > 1) std::sort(axis.kinks, axis.kinks + kinks * axis.n);
    return !(axis.n > 0) || axis.x[axis.n - 1] - axis.x[0] < 1e30;
  }

  const Standing& standing() const { return standing_; }
  double unit() const { return unit_; }  // of the axis
  // The element in place j of the finite ones, and in a place of all.
  int32_t source(int64_t j) const { return order_[standing_.lows + j]; }
  int32_t at_place(int64_t place) const { return order_[place]; }
  OrderTask task() const { return {contest_, batch_.sorting.output, groups()}; }
  T* scratch() { return reinterpret_cast<T*>(scratch_.block()); }
  int32_t* indices() { return indices_.data(); }
  std::vector<T> buffer;  // sums, or the upstream gradient and the gradients

 private:
  Contest contest(int64_t finite) {
    return {batch_.law, batch_.window, make_axis(finite, batch_.n, axis_.data()), 0, finite};
  }
  // Of a matrix several groups are summed together, as long as they stay in the cache.
  int groups() const {
    if (batch_.sorting.output != SortOutput::matrix) return 1;
    constexpr int64_t cache = 1 << 18;
    const int64_t bytes = (5 * batch_.n + 1) * kMostNodesOfGroup * sizeof(T);
    return static_cast<int>(std::clamp<int64_t>(cache / bytes, 1, kMostGroups));
  }

  const Batch<T>& batch_;
  std::vector<int32_t> order_;
  std::vector<double> axis_;
  std::vector<int32_t> indices_;
  Scratch scratch_;
  Standing standing_;
  Contest contest_;
  double unit_ = 1;
};

// Runs task(element, memory) for every row.
template <class T, class F>
void for_each_row(const Batch<T>& batch, const F& task) {
  if (batch.elements == 0) return;
  constexpr int64_t least = 20000;  // nanoseconds that are worth a thread
  const int64_t grain = std::max<int64_t>(1, least / batch.cost());
  torch::stable::parallel_for(0, batch.elements, grain, [&](int64_t begin, int64_t end) {
    RowMemory<T> memory(batch);
    for (int64_t element = begin; element < end; ++element) task(element, memory);
  });
}

template <class T>
void forward_row(const Batch<T>& batch, int64_t element, RowMemory<T>& memory, T* out) {
  const int64_t n = batch.n, m = batch.outcomes();
  if (!memory.load(element)) return fill_nan(out, m);
  const Standing& standing = memory.standing();
  const OrderTask task = memory.task();
  const int64_t first = task.contest.first, positions = task.contest.last - first;
  const int64_t finite = standing.finite;
  std::vector<T>& sums = memory.buffer;
  sums.assign(static_cast<std::size_t>(batch.sorting.output == SortOutput::matrix
                                           ? finite * positions
                                           : std::max(finite, positions)),
              T(0));
  kernels<T>().order_statistics(task, sums.data(), memory.scratch(), memory.indices());
  const auto for_each_mask = [&](auto&& take) {
    for (int64_t place = 0; place < n; ++place) {
      if (place == standing.lows) place += finite;
      if (place < n) take(memory.at_place(place), standing.position(place));
    }
  };
  switch (batch.sorting.output) {
    case SortOutput::matrix:
      std::fill(out, out + m, T(0));
      for (int64_t k = 0; k < positions; ++k) {
        T* const row = out + standing.row(first + k) * n;
        for (int64_t j = 0; j < finite; ++j)
          row[memory.source(j)] = std::clamp(sums[j * positions + k], T(0), T(1));
      }
      for_each_mask([&](int32_t i, int64_t position) {
        if (standing.wanted(position)) out[(position - standing.first) * n + i] = T(1);
      });
      break;
    case SortOutput::values:
      // Counted from the elements that the positions have without noise.
      for (int64_t k = 0; k < positions; ++k)
        out[standing.row(first + k)] = static_cast<T>(
            batch.row(element)[memory.source(first + k)] + memory.unit() * sums[k]);
      for_each_mask([&](int32_t i, int64_t position) {
        if (standing.wanted(position)) out[position - standing.first] = batch.row(element)[i];
      });
      break;
    case SortOutput::ranks:
      for (int64_t j = 0; j < finite; ++j) {
        const T below = std::clamp(sums[j], T(0), static_cast<T>(finite - 1));
        out[memory.source(j)] = standing.descending
                                    ? static_cast<T>(standing.highs + finite) - below
                                    : static_cast<T>(standing.lows + 1) + below;
      }
      for_each_mask(
          [&](int32_t i, int64_t position) { out[i] = static_cast<T>(position + 1); });
      break;
  }
}

template <class T>
void backward_row(const Batch<T>& batch, int64_t element, RowMemory<T>& memory, const T* grad,
                  T* grad_x, T* grad_scale) {
  const int64_t n = batch.n;
  if (!memory.load(element)) {
    fill_nan(grad_x, n);
    if (grad_scale) fill_nan(grad_scale, n);
    return;
  }
  const Standing& standing = memory.standing();
  const OrderTask task = memory.task();
  const int64_t finite = standing.finite;
  const bool matrix = batch.sorting.output == SortOutput::matrix;
  const int64_t size = matrix ? finite * finite : finite;
  std::vector<T>& buffer = memory.buffer;
  buffer.assign(static_cast<std::size_t>(size + 2 * finite), T(0));
  T* const upstream = buffer.data();
  T* const gradients = upstream + size;
  if (batch.sorting.output == SortOutput::ranks) {
    for (int64_t j = 0; j < finite; ++j)
      upstream[j] = standing.descending ? -grad[memory.source(j)] : grad[memory.source(j)];
  }
  for (int64_t k = task.contest.first;
       batch.sorting.output != SortOutput::ranks && k < task.contest.last; ++k) {
    const int64_t row = standing.row(k);
    if (!matrix) upstream[k] = grad[row];
    for (int64_t j = 0; matrix && j < finite; ++j)
      upstream[j * finite + k] = grad[row * n + memory.source(j)];
  }
  kernels<T>().order_statistics_backward(task, upstream, gradients, memory.scratch(),
                                         memory.indices());
  std::fill(grad_x, grad_x + n, T(0));
  if (grad_scale) std::fill(grad_scale, grad_scale + n, T(0));
  // Values are in the same unit as what they are differentiated in.
  const double by = batch.sorting.output == SortOutput::values ? 1 : 1 / memory.unit();
  for (int64_t j = 0; j < finite; ++j) {
    grad_x[memory.source(j)] = static_cast<T>(by * gradients[j]);
    if (grad_scale) grad_scale[memory.source(j)] = static_cast<T>(by * gradients[finite + j]);
  }
}

Tensor order_statistics(Tensor x, Tensor scale, std::string law, bool descending,
                        std::string output, int64_t first, int64_t last) {
  const Sorting sorting = check_order(x, scale, descending, output, first, last);
  Tensor outcome = torch::stable::new_empty(x, outcome_shape(sorting, x.size(0), x.size(1)));
  dispatch_floating(x, "order_statistics: x", [&](auto type) {
    using T = decltype(type);
    const Batch<T> batch(law, sorting, x, scale);
    if (batch.outcomes() == 0) return;
    T* const out = mutable_data<T>(outcome);
    for_each_row(batch, [&](int64_t element, RowMemory<T>& memory) {
      forward_row(batch, element, memory, out + element * batch.outcomes());
    });
  });
  return outcome;
}

std::tuple<Tensor, Tensor> order_statistics_backward(Tensor grad, Tensor x, Tensor scale,
                                                     std::string law, bool descending,
                                                     std::string output, int64_t first,
                                                     int64_t last, bool scale_gradient) {
  const Sorting sorting = check_order(x, scale, descending, output, first, last);
  check_order_gradient(grad, x, sorting);
  const int64_t elements = x.size(0), n = x.size(1);
  Tensor grad_x = torch::stable::new_empty(x, {elements, n});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? n : 0});
  dispatch_floating(x, "order_statistics_backward: x", [&](auto type) {
    using T = decltype(type);
    const Batch<T> batch(law, sorting, x, scale);
    if (n == 0) return;
    const T* const upstream = data<T>(grad);
    T* const in_x = mutable_data<T>(grad_x);
    T* const in_scale = scale_gradient ? mutable_data<T>(grad_scale) : nullptr;
    for_each_row(batch, [&](int64_t element, RowMemory<T>& memory) {
      backward_row(batch, element, memory, upstream + element * batch.outcomes(),
                   in_x + element * n, in_scale ? in_scale + element * n : nullptr);
    });
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("order_statistics", TORCH_BOX(&torchsmooth::order_statistics));
  m.impl("order_statistics_backward", TORCH_BOX(&torchsmooth::order_statistics_backward));
}
