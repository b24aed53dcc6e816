#include <tuple>

#include "../ops/order_statistics.h"
#include "launch.cuh"

namespace torchsmooth {
namespace {

// One warp to a row, one node to a lane.
template <class T>
struct WarpLanes {
  using Value = T;
  using V = T;
  static constexpr int kOwn = 1;
  static constexpr int kCount = kWarp;
  static constexpr int kStride = kWarp;

  static __device__ __forceinline__ bool leads() { return threadIdx.x == 0; }
  static __device__ __forceinline__ void sync() { __syncwarp(); }
  static __device__ __forceinline__ T& lane(T& v, int) { return v; }
  static __device__ __forceinline__ T low(T v) { return v; }
  static __device__ __forceinline__ T high(T v) { return v; }
  template <class Group>
  static __device__ __forceinline__ void put(Group& group, int index, double origin,
                                             double offset, double weight) {
    if (index != static_cast<int>(threadIdx.x)) return;
    group.origin[0] = origin;
    group.offset[0] = offset;
    group.weight[0] = weight;
  }
  static __device__ __forceinline__ T fused(T a, T b, T c) { return torchsmooth::fused(a, b, c); }
  static __device__ __forceinline__ T sum(T v) {
    for (int step = kWarp / 2; step > 0; step /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, step);
    return v;
  }
  static __device__ __forceinline__ T total(Cells<WarpLanes> cells, int64_t size) {
    double all = 0;
    for (int64_t a = 0; a < size; ++a) all += cells[a];
    return static_cast<T>(all);
  }
};

__device__ const NodeTable kNodes = NodeTable();

// Passed by value to the kernels.
template <class T>
struct OrderCall {
  Law law;
  Sorting sorting;
  int64_t elements, n;
  const T* x;      // [elements, n]
  const T* scale;  // scale[element * element_stride + i * dimension_stride]
  int64_t element_stride, dimension_stride;
  unsigned char* memory;  // of each block
  int64_t memory_bytes;

  __host__ __device__ int64_t outcomes() const {
    return sorting.output == SortOutput::matrix ? sorting.positions() * n : sorting.positions();
  }
  __device__ T scale_at(int64_t element, int64_t i) const {
    return scale[element * element_stride + i * dimension_stride];
  }
};

// What a warp keeps in its block's memory, in this order: an axis, cells, gradients, keys, indices.
template <class T>
struct WarpMemory {
  using Lanes = WarpLanes<T>;
  double* axis;
  T* cells;
  T* gradients;  // [2 n]
  T* keys;       // [n]
  int32_t* order;    // [n]
  int32_t* indices;  // of a NodeGroup

  __host__ __device__ static int64_t cell_count(int64_t n) {
    return (NodeGroup<Lanes>::cells(n) + Quadrature<Lanes>::scratch_cells(n)) * kWarp;
  }
  __host__ __device__ static int64_t bytes(int64_t n) {
    const int64_t numbers = cell_count(n) + 3 * n, integers = n + NodeGroup<Lanes>::indices(n);
    return ceil_div(axis_size(n) * 8 + numbers * int64_t(sizeof(T)) + integers * 4, 16) * 16;
  }
  __device__ WarpMemory(const OrderCall<T>& call)
      : axis(reinterpret_cast<double*>(call.memory + blockIdx.x * call.memory_bytes)),
        cells(reinterpret_cast<T*>(axis + axis_size(call.n))),
        gradients(cells + cell_count(call.n)),
        keys(gradients + 2 * call.n),
        order(reinterpret_cast<int32_t*>(keys + call.n)),
        indices(order + call.n) {}
};

// Sorts by a network; the lanes of the warp share out the comparators. index may be null.
template <class T>
__device__ void warp_sort(int64_t n, T* key, int32_t* index) {
  __syncwarp();
  for_each_stage(n, [&](Stage stage) {
    for (int64_t i = threadIdx.x; i + stage.d < n; i += kWarp) {
      if ((i & stage.p) != stage.r) continue;
      const int64_t j = i + stage.d;
      const T a = key[i], b = key[j];
      const int32_t p = index ? index[i] : 0, q = index ? index[j] : 0;
      if (!out_of_order(a, p, b, q, false)) continue;
      key[i] = b;
      key[j] = a;
      if (index) {
        index[i] = q;
        index[j] = p;
      }
    }
    __syncwarp();
  });
}

template <class T>
struct WarpRow {
  Standing standing;
  Contest contest;
  bool good;
  double unit;  // of the axis
};

// Sorts a row and lays out its axis.
template <class T>
__device__ WarpRow<T> load_row(const OrderCall<T>& call, const WarpMemory<T>& memory,
                               int64_t element) {
  const int64_t n = call.n;
  const T* const x = call.x + element * n;
  int good = 1;
  int32_t lows = 0, highs = 0;
  __syncwarp();
  for (int64_t i = threadIdx.x; i < n; i += kWarp) {
    const T scale = call.scale_at(element, i);
    good &= !isnan(x[i]) && isfinite(scale) && scale > T(0);
    lows += isinf(x[i]) && x[i] < T(0);
    highs += isinf(x[i]) && x[i] > T(0);
    memory.keys[i] = x[i];
    memory.order[i] = static_cast<int32_t>(i);
  }
  good = __all_sync(0xFFFFFFFFu, good);
  for (int step = kWarp / 2; step > 0; step /= 2) {
    lows += __shfl_xor_sync(0xFFFFFFFFu, lows, step);
    highs += __shfl_xor_sync(0xFFFFFFFFu, highs, step);
  }
  const Standing standing{lows, n - lows - highs, highs, call.sorting.descending,
                          call.sorting.first, call.sorting.last};
  const bool ranks = call.sorting.output == SortOutput::ranks;
  PanelRule rule{};
  Window reach{};
  with_law(call.law, [&](auto l) {
    rule = decltype(l)::template panels<T>();
    reach = window<T>(l, n);
  });
  const Axis axis = make_axis(standing.finite, n, memory.axis);
  WarpRow<T> row{standing,
                 {call.law, reach, axis, ranks ? 0 : standing.begin(),
                  ranks ? standing.finite : standing.end()},
                 good != 0,
                 1};
  if (!row.good) return row;
  warp_sort(n, memory.keys, memory.order);
  if (threadIdx.x == 0) {
    row.unit = fill_axis(
        axis, [&](int64_t j) { return static_cast<double>(memory.keys[lows + j]); },
        [&](int64_t j) {
          return static_cast<double>(call.scale_at(element, memory.order[lows + j]));
        });
    fill_kinks(rule, axis);
  }
  if (rule.kinks > 1)
    warp_sort(rule.kinks * axis.n, axis.kinks, static_cast<int32_t*>(nullptr));
  __syncwarp();
  row.unit = WarpLanes<double>::sum(threadIdx.x == 0 ? row.unit : 0.0);
  row.good = axis.n == 0 || axis.x[axis.n - 1] - axis.x[0] < 1e30;
  return row;
}

template <class T>
__device__ Quadrature<WarpLanes<T>> make_quadrature(const WarpMemory<T>& memory, int64_t n,
                                                    NodeGroup<WarpLanes<T>>& group) {
  Shelf<WarpLanes<T>> shelf{memory.cells + threadIdx.x};
  group = NodeGroup<WarpLanes<T>>(shelf, n, memory.indices);
  return {kNodes, &group, 1, shelf};
}

template <class T>
__global__ void __launch_bounds__(kWarp)
    order_statistics_kernel(const OrderCall<T> call, T* __restrict__ outcome) {
  const WarpMemory<T> memory(call);
  const int64_t n = call.n, outcomes = call.outcomes(), first = call.sorting.first;
  for (int64_t element = blockIdx.x; element < call.elements; element += gridDim.x) {
    T* const out = outcome + element * outcomes;
    const WarpRow<T> row = load_row(call, memory, element);
    const Standing& standing = row.standing;
    const int64_t lows = standing.lows, finite = standing.finite;
    for (int64_t k = threadIdx.x; k < outcomes; k += kWarp) out[k] = row.good ? T(0) : T(NAN);
    __syncwarp();
    if (!row.good) continue;
    NodeGroup<WarpLanes<T>> group;
    const auto quadrature = make_quadrature(memory, n, group);
    expect(row.contest, call.sorting.output, quadrature, [&](int64_t k, int64_t j, T value) {
      if (threadIdx.x != 0) return;
      switch (call.sorting.output) {
        case SortOutput::matrix:
          out[standing.row(k) * n + memory.order[lows + j]] += value;
          break;
        case SortOutput::values:
          out[standing.row(k)] += value;
          break;
        case SortOutput::ranks:
          out[memory.order[lows + j]] += value;
          break;
      }
    });
    __syncwarp();
    if (call.sorting.output == SortOutput::matrix) {
      for (int64_t k = threadIdx.x; k < outcomes; k += kWarp)
        out[k] = out[k] < T(0) ? T(0) : out[k] > T(1) ? T(1) : out[k];
    }
    __syncwarp();
    for (int64_t place = threadIdx.x; place < n; place += kWarp) {
      const int32_t i = memory.order[place];
      const int64_t position = standing.position(place);
      const bool mask = place < lows || place >= lows + finite;
      switch (call.sorting.output) {
        case SortOutput::matrix:
          if (mask && standing.wanted(position)) out[(position - first) * n + i] = T(1);
          break;
        case SortOutput::values:
          if (standing.wanted(position)) {
            T& value = out[position - first];
            value = static_cast<T>(memory.keys[place] + row.unit * value);
          }
          break;
        case SortOutput::ranks:
          if (mask) {
            out[i] = static_cast<T>(position + 1);
          } else {
            const T most = static_cast<T>(finite - 1);
            const T below = out[i] < T(0) ? T(0) : out[i] > most ? most : out[i];
            out[i] = standing.descending ? static_cast<T>(standing.highs + finite) - below
                                         : static_cast<T>(lows + 1) + below;
          }
          break;
      }
    }
    __syncwarp();
  }
}

template <class T>
__global__ void __launch_bounds__(kWarp)
    order_statistics_backward_kernel(const OrderCall<T> call, const T* __restrict__ grad,
                                     T* __restrict__ grad_x, T* __restrict__ grad_scale) {
  const WarpMemory<T> memory(call);
  const int64_t n = call.n;
  for (int64_t element = blockIdx.x; element < call.elements; element += gridDim.x) {
    const T* const upstream = grad + element * call.outcomes();
    const WarpRow<T> row = load_row(call, memory, element);
    const Standing& standing = row.standing;
    const Contest& contest = row.contest;
    const int64_t lows = standing.lows, finite = standing.finite;
    for (int64_t k = threadIdx.x; k < 2 * n; k += kWarp) memory.gradients[k] = T(0);
    __syncwarp();
    if (row.good) {
      NodeGroup<WarpLanes<T>> group;
      const auto quadrature = make_quadrature(memory, n, group);
      differentiate(
          contest, call.sorting.output, quadrature,
          [&](int64_t k, int64_t j) {
            if (call.sorting.output == SortOutput::ranks) {
              const T g = upstream[memory.order[lows + j]];
              return standing.descending ? -g : g;
            }
            if (k < contest.first || k >= contest.last) return T(0);
            return call.sorting.output == SortOutput::values
                       ? upstream[standing.row(k)]
                       : upstream[standing.row(k) * n + memory.order[lows + j]];
          },
          [&](int64_t j, T in_x, T in_scale) {
            if (threadIdx.x != 0) return;
            memory.gradients[j] = in_x;
            memory.gradients[n + j] = in_scale;
          });
    }
    __syncwarp();
    // Values are in the same unit as what they are differentiated in.
    const double by = call.sorting.output == SortOutput::values ? 1 : 1 / row.unit;
    for (int64_t place = threadIdx.x; place < n; place += kWarp) {
      const int64_t i = row.good ? memory.order[place] : place, j = place - lows;
      const bool known = row.good && j >= 0 && j < finite;
      const T none = row.good ? T(0) : T(NAN);
      grad_x[element * n + i] = known ? static_cast<T>(by * memory.gradients[j]) : none;
      if (grad_scale) grad_scale[element * n + i] = known ? static_cast<T>(by * memory.gradients[n + j]) : none;
    }
    __syncwarp();
  }
}

template <class T>
OrderCall<T> make_call(const std::string& law_name, const Sorting& sorting, const Tensor& x,
                       const Tensor& scale) {
  OrderCall<T> call{};
  call.law = parse_law(law_name);
  call.sorting = sorting;
  call.elements = x.size(0);
  call.n = x.size(1);
  call.x = data<T>(x);
  call.scale = data<T>(scale);
  call.element_stride = scale.size(0) == 1 ? 0 : scale.size(1);
  call.dimension_stride = scale.size(1) == 1 ? 0 : 1;
  call.memory_bytes = WarpMemory<T>::bytes(call.n);
  return call;
}

Tensor order_statistics(Tensor x, Tensor scale, std::string law, bool descending,
                        std::string output, int64_t first, int64_t last) {
  const Sorting sorting = check_order(x, scale, descending, output, first, last);
  check_device(scale, "scale", x);
  const DeviceGuard guard(x.get_device_index());
  Tensor outcome = torch::stable::new_empty(x, outcome_shape(sorting, x.size(0), x.size(1)));
  dispatch_floating(x, "order_statistics: x", [&](auto type) {
    using T = decltype(type);
    OrderCall<T> call = make_call<T>(law, sorting, x, scale);
    if (call.elements * call.outcomes() == 0) return;
    Workspace workspace(call.elements, call.memory_bytes, x);
    call.memory = workspace.data();
    launch(&order_statistics_kernel<T>, workspace.blocks, kWarp, 0, x, call,
           mutable_data<T>(outcome));
  });
  return outcome;
}

std::tuple<Tensor, Tensor> order_statistics_backward(Tensor grad, Tensor x, Tensor scale,
                                                     std::string law, bool descending,
                                                     std::string output, int64_t first,
                                                     int64_t last, bool scale_gradient) {
  const Sorting sorting = check_order(x, scale, descending, output, first, last);
  check_order_gradient(grad, x, sorting);
  check_device(scale, "scale", x);
  check_device(grad, "grad", x);
  const DeviceGuard guard(x.get_device_index());
  const int64_t elements = x.size(0), n = x.size(1);
  Tensor grad_x = torch::stable::new_empty(x, {elements, n});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? n : 0});
  dispatch_floating(x, "order_statistics_backward: x", [&](auto type) {
    using T = decltype(type);
    OrderCall<T> call = make_call<T>(law, sorting, x, scale);
    if (elements * n == 0) return;
    Workspace workspace(elements, call.memory_bytes, x);
    call.memory = workspace.data();
    launch(&order_statistics_backward_kernel<T>, workspace.blocks, kWarp, 0, x, call,
           data<T>(grad), mutable_data<T>(grad_x),
           scale_gradient ? mutable_data<T>(grad_scale) : static_cast<T*>(nullptr));
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("order_statistics", TORCH_BOX(&torchsmooth::order_statistics));
  m.impl("order_statistics_backward", TORCH_BOX(&torchsmooth::order_statistics_backward));
}
