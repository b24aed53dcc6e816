// Shortest paths: a team of threads for each sample, which relaxes its cells until no cost falls.
// The costs are the same bits in any order of relaxation, see core/algorithms/shortest_path.h.
#include <tuple>
#include <type_traits>

#include "../ops/shortest_path.h"
#include "finish.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 128;
static_assert(kThreads / kWarp == 4, "warps take the samples of a quad");

// How a block works: warps take one sample each, or the whole block takes one after the other where
// so many grids would fill the shared memory. Grids that do not fit at all lie in global memory.
struct Room {
  int threads;    // of a team: kWarp or kThreads
  bool shared;
  int64_t extra;  // bytes for the sums of a block, in front of the grids
  int64_t bytes;  // of all

  __host__ __device__ int teams() const { return kThreads / threads; }

  template <class T>
  static Room of(const Grid& grid, int64_t extra_bytes, const Tensor& device) {
    constexpr int64_t several_blocks = 48 * 1024, declared = 1024;
    const int64_t limit = shared_memory_limit(device) - declared;
    const int64_t extra = ceil_div(extra_bytes, 16) * 16;
    const int64_t of_team = 2 * int64_t(grid.places()) * static_cast<int64_t>(sizeof(T));
    const int64_t of_quad = extra + 4 * of_team, of_one = extra + of_team;
    if (of_quad <= std::min(several_blocks, limit)) return {kWarp, true, extra, of_quad};
    return {kThreads, of_one <= limit, extra, ceil_div(of_one, 16) * 16};
  }
};

// What the kernels know; passed by value.
template <class T>
struct PathCall {
  Noise<T> noise;
  Grid grid;
  int64_t elements;
  const T* x;  // [B, cells]
};

// The grids of one block. Weights stand in places as costs do; those of the border are more than
// any path costs.
template <class T>
struct PathBlock {
  Grid grid;
  WeightBounds<T> bounds;
  int threads;
  unsigned char* extra;
  T* weight;  // [places], of this thread's team
  T* cost;    // [places]
  T* all;     // [teams, 2, places]

  __device__ PathBlock(const Grid& grid, const Room& room, unsigned char* memory)
      : grid(grid),
        bounds(grid),
        threads(room.threads),
        extra(memory),
        all(reinterpret_cast<T*>(memory + room.extra)) {
    const int places = grid.places();
    weight = all + team() * 2 * places;
    cost = weight + places;
    for (int k = threadIdx.x; k < room.teams() * 2 * places; k += kThreads)
      all[k] = unreached<T>();
    __syncthreads();
  }

  __device__ int team() const { return static_cast<int>(threadIdx.x) / threads; }
  __device__ int rank() const { return static_cast<int>(threadIdx.x) & (threads - 1); }
  __device__ void sync() const {
    if (threads == kWarp) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }
  __device__ bool any(bool x) const {
    return threads == kWarp ? __any_sync(0xFFFFFFFFu, x) : __syncthreads_or(x) != 0;
  }

  // A cell of a team's grid before the search.
  __device__ void set(int team, int cell, T w) const {
    const int place = grid.place(cell), at = team * 2 * grid.places() + place;
    all[at] = bounds.clamp(w);
    all[at + grid.places()] = cell == grid.source ? least_normal(T()) : unreached<T>();
  }

  // Of one team. Threads read the costs around a place, and then write: no race.
  template <bool kDiagonal>
  __device__ void find_costs() const {
    const int s = grid.stride(), first = s + 1, last = grid.places() - s - 1;
    bool changed;
    do {
      changed = false;
      for (int begin = first; begin < last; begin += threads) {
        const int place = begin + rank();
        T now = T(0);
        bool falls = false;
        if (place < last) {
          T cheapest = min(min(cost[place - s], cost[place + s]),
                           min(cost[place - 1], cost[place + 1]));
          if (kDiagonal)
            cheapest = min(cheapest, min(min(cost[place - s - 1], cost[place - s + 1]),
                                         min(cost[place + s - 1], cost[place + s + 1])));
          now = step_cost<BitsOf<T>>(cheapest, weight[place]);
          falls = now < cost[place];
        }
        sync();
        if (falls) cost[place] = now;
        sync();
        changed |= falls;
      }
    } while (any(changed));
  }

  // Finds the path of this team's grid; the team's first thread calls visit(cell) for its cells.
  template <class Visit>
  __device__ void find_path(Visit&& visit) const {
    const auto run = [&](auto diagonal) {
      constexpr bool kDiagonal = decltype(diagonal)::value;
      find_costs<kDiagonal>();
      if (rank() == 0) walk_back<kDiagonal>(grid, [&](int place) { return cost[place]; }, visit);
    };
    if (grid.diagonal) {
      run(std::true_type{});
    } else {
      run(std::false_type{});
    }
  }

  // Draws the samples of a quad and finds their paths: one thread calls visit(c, cell) for the
  // cells of the path of sample 4 quad + c, and then finish(c).
  template <class Visit, class Finish>
  __device__ void find_paths(const PathCall<T>& call, int64_t seed, int64_t element, int64_t quad,
                             Visit&& visit, Finish&& finish) const {
    const int n = grid.cells(), teams = kThreads / threads;
    const T* const x = call.x + element * n;
    for (int first = 0; first < 4; first += teams) {
      for (int j = threadIdx.x; j < n; j += kThreads) {
        const T center = x[j], scale = call.noise.scale_at(element, j);
        for_quad<false, false>(call.noise, seed, element, j, quad,
                               [&](int c, const Weights<T>& w) {
                                 if (c >= first && c < first + teams)
                                   set(c - first, j, fused(scale, w.noise, center));
                               });
      }
      __syncthreads();
      const int c = first + team();
      if (4 * quad + c < call.noise.num_samples) {
        find_path([&](int cell) { visit(c, cell); });
        if (rank() == 0) finish(c);
      }
      __syncthreads();
    }
  }
};

template <class T, bool kShared>
__device__ PathBlock<T> make_block(const Grid& grid, const Room& room, unsigned char* workspace) {
  extern __shared__ __align__(16) unsigned char shared[];
  return PathBlock<T>(grid, room, kShared ? shared : workspace + blockIdx.x * room.bytes);
}

template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads)
    hard_paths_kernel(const Grid grid, const Room room, unsigned char* workspace, int64_t rows,
                      const T* __restrict__ weights,  // [rows, cells]
                      T* __restrict__ path) {         // [rows, cells]
  const PathBlock<T> block = make_block<T, kShared>(grid, room, workspace);
  const int n = grid.cells(), rank = block.rank(), teams = room.teams();
  for (int64_t first = int64_t(blockIdx.x) * teams; first < rows; first += int64_t(gridDim.x) * teams) {
    const int64_t row = first + block.team();
    if (row < rows) {
      bool bad = false;
      for (int j = rank; j < n; j += block.threads) {
        const T w = weights[row * n + j];
        bad |= !isfinite(w);
        block.set(block.team(), j, isfinite(w) ? w : T(1));
      }
      bad = block.any(bad);
      for (int j = rank; j < n; j += block.threads) path[row * n + j] = bad ? T(NAN) : T(0);
      block.sync();
      if (!bad) block.find_path([&](int cell) { path[row * n + cell] = T(1); });
      block.sync();
    }
  }
}

// Counts the samples whose path has a cell.
template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads)
    paths_kernel(const PathCall<T> call, const Room room, unsigned char* workspace, Chunks chunks,
                 uint32_t* __restrict__ counts) {  // [B, 1, cells]
  const PathBlock<T> block = make_block<T, kShared>(call.grid, room, workspace);
  const int n = call.grid.cells();
  const int64_t seed = *call.noise.seed, quads = ceil_div(call.noise.num_samples, 4);
  uint32_t* const own = reinterpret_cast<uint32_t*>(block.extra);
  for (int64_t task = blockIdx.x; task < call.elements * chunks.count; task += gridDim.x) {
    const int64_t element = task / chunks.count;
    const int64_t begin = task % chunks.count * chunks.units;
    const int64_t end = min(begin + chunks.units, quads);
    for (int j = threadIdx.x; j < n; j += kThreads) own[j] = 0;
    for (int64_t quad = begin; quad < end; ++quad) {
      block.find_paths(
          call, seed, element, quad, [&](int, int cell) { atomicAdd(&own[cell], 1u); },
          [](int) {});
    }
    for (int j = threadIdx.x; j < n; j += kThreads) {
      if (own[j] != 0) atomicAdd(&counts[element * n + j], own[j]);
    }
    __syncthreads();
  }
}

// With g the sum of grad over a sample's path, less the baseline: sums of g * weight.
template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads)
    path_weights_kernel(const PathCall<T> call, const Room room, unsigned char* workspace,
                        Chunks chunks, bool scale,
                        const T* __restrict__ grad,      // [B, cells]
                        const T* __restrict__ baseline,  // [B]
                        double* __restrict__ sums) {     // [B, chunks, weights]
  __shared__ T g[4];
  const PathBlock<T> block = make_block<T, kShared>(call.grid, room, workspace);
  const int n = call.grid.cells(), weights = scale ? 2 * n : n;
  const int64_t seed = *call.noise.seed, quads = ceil_div(call.noise.num_samples, 4);
  double* const own = reinterpret_cast<double*>(block.extra);
  for (int64_t task = blockIdx.x; task < call.elements * chunks.count; task += gridDim.x) {
    const int64_t element = task / chunks.count;
    const int64_t begin = task % chunks.count * chunks.units;
    const int64_t end = min(begin + chunks.units, quads);
    const T center = baseline[element];
    for (int k = threadIdx.x; k < weights; k += kThreads) own[k] = 0;
    for (int64_t quad = begin; quad < end; ++quad) {
      // Samples behind the last count for nothing.
      if (threadIdx.x < 4) g[threadIdx.x] = T(0);
      block.find_paths(
          call, seed, element, quad,
          [&](int c, int cell) { g[c] += grad[element * n + cell]; },
          [&](int c) { g[c] -= center; });
      for (int j = threadIdx.x; j < n; j += kThreads) {
        T in_x = T(0), in_scale = T(0);
        for_quad<true, false>(call.noise, seed, element, j, quad,
                              [&](int c, const Weights<T>& w) {
                                in_x = fused(g[c], w.score, in_x);
                                in_scale = fused(g[c], w.scale, in_scale);
                              });
        own[j] += in_x;
        if (scale) own[n + j] += in_scale;
      }
      __syncthreads();
    }
    for (int k = threadIdx.x; k < weights; k += kThreads) sums[task * weights + k] = own[k];
    __syncthreads();
  }
}

// Calls run(tag, blocks, dynamic shared memory, workspace); the tag says whether grids lie in
// shared memory.
template <class F>
void with_room(const Room& room, int64_t tasks, const Tensor& device, F&& run) {
  unsigned char* const none = nullptr;
  if (room.shared) return run(std::true_type{}, tasks, room.bytes, none);
  Workspace workspace(tasks, room.bytes, device);
  run(std::false_type{}, workspace.blocks, int64_t(0), workspace.data());
}

template <class T>
PathCall<T> make_call(const Tensor& x, const Grid& grid, const Noise<T>& noise) {
  return {noise, grid, x.size(0), data<T>(x)};
}

Tensor hard_shortest_path(Tensor weights, int64_t neighbors, int64_t source, int64_t target,
                          double min_weight) {
  const Grid grid = check_grid(weights, neighbors, source, target, min_weight);
  const DeviceGuard guard(weights.get_device_index());
  const int64_t rows = weights.size(0);
  Tensor path = torch::stable::new_empty(weights, {rows, grid.height, grid.width});
  dispatch_floating(weights, "hard_shortest_path: weights", [&](auto type) {
    using T = decltype(type);
    if (weights.numel() == 0) return;
    const Room room = Room::of<T>(grid, 0, weights);
    with_room(room, ceil_div(rows, room.teams()), weights,
              [&](auto shared, int64_t tasks, int64_t bytes, unsigned char* workspace) {
                launch(&hard_paths_kernel<T, decltype(shared)::value>, tasks, kThreads, bytes,
                       weights, grid, room, workspace, rows, data<T>(weights),
                       mutable_data<T>(path));
              });
  });
  return path;
}

Tensor shortest_path(Tensor x, Tensor scale, Tensor seed, Tensor directions, std::string law,
                     std::string sampler, bool antithetic, int64_t num_samples, int64_t neighbors,
                     int64_t source, int64_t target, double min_weight) {
  const Grid grid = check_grid(x, neighbors, source, target, min_weight);
  check_scale_dtype(x, scale);
  check_device(scale, "shortest_path: scale", x);
  check_noise_devices(seed, directions, x);
  const int64_t elements = x.size(0), n = grid.cells();
  const DeviceGuard guard(x.get_device_index());
  Tensor mean = torch::stable::new_empty(x, {elements, grid.height, grid.width});
  dispatch_floating(x, "shortest_path: x", [&](auto type) {
    using T = decltype(type);
    const PathCall<T> call =
        make_call(x, grid,
                  make_noise<T>(scale, seed, directions, law, sampler, antithetic, num_samples, 0.0,
                                elements, n));
    if (x.numel() == 0) return;
    const Room room = Room::of<T>(grid, n * int64_t(sizeof(uint32_t)), x);
    const Chunks chunks = cut(elements, ceil_div(num_samples, 4));
    // Counts are integers: blocks may add to the same ones in any order.
    Tensor counts = torch::stable::new_zeros(x, {elements, 1, n}, ScalarType::Int);
    with_room(room, elements * chunks.count, x,
              [&](auto shared, int64_t tasks, int64_t bytes, unsigned char* workspace) {
                launch(&paths_kernel<T, decltype(shared)::value>, tasks, kThreads, bytes, x, call,
                       room, workspace, chunks, mutable_data<uint32_t>(counts));
              });
    finish_mean<uint32_t>(call.noise, call.x, static_cast<const T*>(nullptr), elements, counts, x,
                          mean);
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
  check_device(grad, "shortest_path_backward: grad", x);
  check_device(baseline, "shortest_path_backward: baseline", x);
  check_device(scale, "shortest_path_backward: scale", x);
  check_noise_devices(seed, directions, x);
  const int64_t elements = x.size(0), n = grid.cells();
  const DeviceGuard guard(x.get_device_index());
  Tensor grad_x = torch::stable::new_empty(x, {elements, grid.height, grid.width});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? n : 0});
  dispatch_floating(x, "shortest_path_backward: x", [&](auto type) {
    using T = decltype(type);
    const PathCall<T> call =
        make_call(x, grid,
                  make_noise<T>(scale, seed, directions, law, sampler, antithetic, num_samples,
                                pair_weight, elements, n));
    if (x.numel() == 0) return;
    const int64_t weights = scale_gradient ? 2 * n : n;
    const Room room = Room::of<T>(grid, weights * int64_t(sizeof(double)), x);
    const Chunks chunks = cut(elements, ceil_div(num_samples, 4));
    Tensor sums =
        torch::stable::new_empty(x, {elements, chunks.count, weights}, ScalarType::Double);
    with_room(room, elements * chunks.count, x,
              [&](auto shared, int64_t tasks, int64_t bytes, unsigned char* workspace) {
                launch(&path_weights_kernel<T, decltype(shared)::value>, tasks, kThreads, bytes, x,
                       call, room, workspace, chunks, scale_gradient, data<T>(grad),
                       data<T>(baseline), mutable_data<double>(sums));
              });
    finish_gradient(call.noise, call.x, elements, factor, sums, x, grad_x, grad_scale);
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("hard_shortest_path", TORCH_BOX(&torchsmooth::hard_shortest_path));
  m.impl("shortest_path", TORCH_BOX(&torchsmooth::shortest_path));
  m.impl("shortest_path_backward", TORCH_BOX(&torchsmooth::shortest_path_backward));
}
