// Sorting more elements: a block sorts a tile of samples at a time, by a sorting network in shared
// memory, or in global memory where a tile is too large. The samples of a tile are the fast index,
// so that the threads of a warp mostly do the same comparison for different samples and meet
// different banks.
#include "sort.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 3;  // on a multiprocessor: what registers are limited to
constexpr int kMostShift = 7;
constexpr int64_t kSharedCounts = 4096;  // that a block keeps before it adds them to all
// Shared memory that a kernel declares at most: those counts, and what find_first_of_all has.
constexpr int64_t kDeclared = 20 * 1024;
static_assert(kSharedCounts * 4 + kThreads * 12 <= kDeclared);

// What a tile has beside the perturbed values [n, samples], in dynamic shared memory or a workspace.
struct TileShape {
  int shift;    // logarithm of the samples, at least 2
  int weights;  // rows of weights: 0, n scores, or n scale weights besides
  int indices;  // rows of indices: what is to be known of the order
  int totals;   // sums over all tiles, doubles
};

template <class T>
struct Tile {
  int n;
  TileShape shape;
  int samples;
  double* totals;
  T* y;        // [n, samples]: perturbed values with the sign of the call, then what order() says
  T* weight;   // [weights, samples]
  int* index;  // [indices, samples]: the element at each position

  // Places in a tile are counted in 32 bits.
  static constexpr int64_t kMostElements = int64_t(1) << 27;

  __device__ Tile(int n, TileShape shape, unsigned char* memory)
      : n(n),
        shape(shape),
        samples(1 << shape.shift),
        totals(reinterpret_cast<double*>(memory)),
        y(reinterpret_cast<T*>(totals + (shape.totals + 1) / 2 * 2)),
        weight(y + n * samples),
        index(reinterpret_cast<int*>(weight + shape.weights * samples)) {}

  static int64_t bytes(int64_t n, TileShape shape) {
    const int64_t per_sample =
        (n + shape.weights) * static_cast<int64_t>(sizeof(T)) + shape.indices * int64_t(4);
    return (shape.totals + 1) / 2 * int64_t(16) + (per_sample << shape.shift);
  }

  __device__ void draw(const SortCall<T>& call, int64_t seed, int64_t element,
                       int64_t first_quad) const {
    const Noise<T>& noise = call.noise;
    const T sign = call.sign(), pair_weight = shape.weights > 0 ? noise.pair_weight : T(0);
    const int shift = shape.shift, quads = samples / 4;
    for (int item = threadIdx.x; item < n * quads; item += kThreads) {
      const int j = item >> (shift - 2), q = item & (quads - 1), at = (j << shift) + 4 * q;
      const T center = sign * call.x[element * n + j];
      const T factor = sign * noise.scale_at(element, j);
      uint32_t word[4];
      quad_words<false>(noise.points, seed, static_cast<uint32_t>(element),
                        static_cast<uint32_t>(j), static_cast<uint32_t>(first_quad + q), word);
      Quad<T> values, scores, volumes;
      for (int c = 0; c < 4; ++c) {
        // Drawing is the smaller part: the laws need not be inlined.
        const Weights<T> w = called_weights(noise.law, word[c], pair_weight);
        values.v[c] = fused(factor, w.noise, center);
        scores.v[c] = w.score;
        volumes.v[c] = w.scale;
      }
      *reinterpret_cast<Quad<T>*>(y + at) = values;
      if (shape.weights > 0) *reinterpret_cast<Quad<T>*>(weight + at) = scores;
      if (shape.weights > n) *reinterpret_cast<Quad<T>*>(weight + n * samples + at) = volumes;
      if (shape.indices == n) *reinterpret_cast<int4*>(index + at) = make_int4(j, j, j, j);
    }
    __syncthreads();
  }

  // Afterwards, for a matrix, index[k, .] is the element at position k, for the positions that are
  // wanted; for values y is sorted; for ranks y[i, .] is the rank of element i.
  __device__ void order(const Sorting& sorting) const {
    if (sorting.only_first()) return find_first_of_all();
    if (sorting.output == SortOutput::values) {
      for_each_comparator([&](int low, int high) {
        const T a = y[low], b = y[high];
        if (overtakes(b, a, false)) {
          y[low] = b;
          y[high] = a;
        }
      });
      return;
    }
    for_each_comparator([&](int low, int high) {
      const T a = y[low], b = y[high];
      const int e = index[low], f = index[high];
      if (out_of_order(a, e, b, f, false)) {
        y[low] = b;
        y[high] = a;
        index[low] = f;
        index[high] = e;
      }
    });
    if (sorting.output != SortOutput::ranks) return;
    for (int item = threadIdx.x; item < n << shape.shift; item += kThreads) {
      const int k = item >> shape.shift, t = item & (samples - 1);
      y[(index[item] << shape.shift) + t] = static_cast<T>(k + 1);
    }
    __syncthreads();
  }

  // The rows [outcomes, samples] of values or ranks.
  __device__ const T* outcome(const Sorting& sorting) const {
    return y + (sorting.output == SortOutput::values ? sorting.first : 0) * samples;
  }

  // Calls add(k, sum), in one thread, for each of `rows` rows, with the sum over the samples that
  // step(k, t, sum) makes. A few threads of a warp take one row together.
  template <class Step, class Add>
  __device__ void sum_rows(int rows, Step&& step, Add&& add) const {
    const int lanes = min(samples, kWarp), lane = threadIdx.x & (lanes - 1);
    const int each = kThreads / lanes;
    for (int first = 0; first < rows; first += each) {
      const int k = first + static_cast<int>(threadIdx.x) / lanes;
      T sum = T(0);
      if (k < rows) {
        for (int t = lane; t < samples; t += lanes) sum = step(k, t, sum);
      }
      for (int distance = lanes / 2; distance > 0; distance /= 2)
        sum += __shfl_down_sync(0xFFFFFFFFu, sum, distance, lanes);
      if (k < rows && lane == 0) add(k, sum);
    }
  }

 private:
  // Calls exchange(low, high), places in y, for every comparator of the network and every sample.
  template <class F>
  __device__ void for_each_comparator(F&& exchange) const {
    const int shift = shape.shift;
    for_each_stage(n, [&](Stage stage) {
      const int p = static_cast<int>(stage.p), r = static_cast<int>(stage.r);
      const int d = static_cast<int>(stage.d), lower = n - d;  // elements i < lower have a partner
      const int comparators = (lower + 2 * p - 1) / (2 * p) * p;
      for (int item = threadIdx.x; item < comparators << shift; item += kThreads) {
        const int c = item >> shift, t = item & (samples - 1);
        // Comparator c belongs to the c-th i with (i & p) == r.
        const int i = ((c & ~(p - 1)) << 1) | r | (c & (p - 1));
        if (i < lower) exchange((i << shift) + t, ((i + d) << shift) + t);
      }
      __syncthreads();
    });
  }

  // Threads share out the elements of a sample, and then compare what they found.
  __device__ void find_first_of_all() const {
    __shared__ T best[kThreads];  // [slices, samples]
    __shared__ int best_index[kThreads];
    const int t = threadIdx.x & (samples - 1), slice = threadIdx.x >> shape.shift;
    const int slices = min(kThreads >> shape.shift, n);
    if (slice < slices) {
      T own = y[(slice << shape.shift) + t];
      int own_index = slice;
      for (int j = slice + slices; j < n; j += slices) {
        const T candidate = y[(j << shape.shift) + t];
        if (overtakes(candidate, own, false)) {
          own = candidate;
          own_index = j;
        }
      }
      best[threadIdx.x] = own;
      best_index[threadIdx.x] = own_index;
    }
    __syncthreads();
    if (slice == 0) {
      T own = best[t];
      int own_index = best_index[t];
      for (int s = 1; s < slices; ++s) {
        const T candidate = best[(s << shape.shift) + t];
        const int candidate_index = best_index[(s << shape.shift) + t];
        if (out_of_order(own, own_index, candidate, candidate_index, false)) {
          own = candidate;
          own_index = candidate_index;
        }
      }
      index[t] = own_index;
    }
    __syncthreads();
  }
};

// The samples of one block: those of a chunk of an element.
struct ManyTask {
  int64_t element;
  int64_t begin;
  int64_t end;

  __device__ ManyTask(int64_t task, Chunks chunks, int samples, uint32_t num_samples)
      : element(task / chunks.count),
        begin(task % chunks.count * chunks.units * samples),
        end(min(begin + chunks.units * samples, int64_t(num_samples))) {}
};

template <class T, bool kShared>
__device__ Tile<T> make_tile(const SortCall<T>& call, TileShape shape, unsigned char* workspace,
                             int64_t tile_bytes) {
  extern __shared__ __align__(16) unsigned char shared[];
  return Tile<T>(static_cast<int>(call.noise.n), shape,
                 kShared ? shared : workspace + blockIdx.x * tile_bytes);
}

// Matrices: adds to counts how often element i has position first + k. Others: sums of outcome -
// pivot, for each chunk of an element's samples.
template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads, kBlocks)
    many_outcomes_kernel(const SortCall<T> call, Chunks chunks, TileShape shape,
                         unsigned char* workspace, int64_t tile_bytes,
                         uint32_t* __restrict__ counts,  // [B, positions, n] or null
                         double* __restrict__ sums) {    // [B, chunks, outcomes]
  __shared__ uint32_t block_counts[kSharedCounts];
  const Sorting sorting = call.sorting;
  const int64_t m = call.outcomes, seed = *call.noise.seed;
  const Tile<T> tile = make_tile<T, kShared>(call, shape, workspace, tile_bytes);
  const int n = tile.n, samples = tile.samples;
  const bool in_block = counts && m <= kSharedCounts;
  for (int64_t index = blockIdx.x; index < call.elements * chunks.count; index += gridDim.x) {
    const ManyTask task(index, chunks, samples, call.noise.num_samples);
    uint32_t* const element_counts = counts + task.element * m;
    uint32_t* const target = in_block ? block_counts : element_counts;
    if (in_block) {
      for (int cell = threadIdx.x; cell < m; cell += kThreads) block_counts[cell] = 0;
    }
    for (int k = threadIdx.x; k < shape.totals; k += kThreads) tile.totals[k] = 0;
    for (int64_t first = task.begin; first < task.end; first += samples) {
      tile.draw(call, seed, task.element, first / 4);
      tile.order(sorting);
      const int valid = static_cast<int>(min(task.end - first, int64_t(samples)));
      if (counts) {
        const int* const row = tile.index + sorting.first * samples;
        for (int item = threadIdx.x; item < sorting.positions() << shape.shift; item += kThreads) {
          if ((item & (samples - 1)) < valid)
            atomicAdd(&target[int64_t(item >> shape.shift) * n + row[item]], 1u);
        }
      } else {
        const T* const outcome = tile.outcome(sorting);
        const T* const pivot = call.pivot + task.element * m;
        const T sign = sorting.output == SortOutput::values ? call.sign() : T(1);
        tile.sum_rows(
            static_cast<int>(m),
            [&](int k, int t, T sum) {
              return t < valid ? sum + (sign * outcome[(k << shape.shift) + t] - pivot[k]) : sum;
            },
            [&](int k, T sum) { tile.totals[k] += sum; });
      }
      __syncthreads();
    }
    if (in_block) {
      for (int cell = threadIdx.x; cell < m; cell += kThreads) {
        if (block_counts[cell] != 0) atomicAdd(&element_counts[cell], block_counts[cell]);
      }
    }
    for (int k = threadIdx.x; k < shape.totals; k += kThreads) sums[index * m + k] = tile.totals[k];
    __syncthreads();
  }
}

// See sum_many_weights.
template <class T, bool kShared>
__global__ void __launch_bounds__(kThreads, kBlocks)
    many_weights_kernel(const SortCall<T> call, const Upstream<T> upstream, Chunks chunks,
                        TileShape shape, unsigned char* workspace, int64_t tile_bytes,
                        double* __restrict__ sums) {  // [B, chunks, weights]
  __shared__ T slice_sums[kThreads];  // [slices of the outcomes, samples]
  __shared__ T g[1 << kMostShift];
  const Sorting sorting = call.sorting;
  const int64_t seed = *call.noise.seed;
  const Tile<T> tile = make_tile<T, kShared>(call, shape, workspace, tile_bytes);
  const int n = tile.n, samples = tile.samples;
  const int t = threadIdx.x & (samples - 1), slice = threadIdx.x >> shape.shift;
  const int slices = kThreads >> shape.shift;
  for (int64_t index = blockIdx.x; index < call.elements * chunks.count; index += gridDim.x) {
    const ManyTask task(index, chunks, samples, call.noise.num_samples);
    const T* const grad = upstream.grad + task.element * call.outcomes;
    const T center = upstream.center[task.element];
    for (int k = threadIdx.x; k < shape.totals; k += kThreads) tile.totals[k] = 0;
    for (int64_t first = task.begin; first < task.end; first += samples) {
      tile.draw(call, seed, task.element, first / 4);
      tile.order(sorting);
      T part = T(0);
      if (sorting.output == SortOutput::matrix) {
        const int* const row = tile.index + sorting.first * samples;
        for (int k = slice; k < sorting.positions(); k += slices)
          part += grad[int64_t(k) * n + row[(k << shape.shift) + t]];
      } else {
        const T* const outcome = tile.outcome(sorting);
        const T* const pivot = call.pivot + task.element * call.outcomes;
        const T sign = sorting.output == SortOutput::values ? call.sign() : T(1);
        for (int k = slice; k < call.outcomes; k += slices)
          part = fused(grad[k], sign * outcome[(k << shape.shift) + t] - pivot[k], part);
      }
      slice_sums[threadIdx.x] = part;
      __syncthreads();
      if (slice == 0) {
        T sum = T(0);
        for (int s = 0; s < slices; ++s) sum += slice_sums[(s << shape.shift) + t];
        g[t] = first + t < task.end ? sum - center : T(0);
      }
      __syncthreads();
      tile.sum_rows(
          shape.weights,
          [&](int k, int u, T sum) {
            return fused(g[u], tile.weight[(k << shape.shift) + u], sum);
          },
          [&](int k, T sum) { tile.totals[k] += sum; });
      __syncthreads();
    }
    for (int k = threadIdx.x; k < shape.totals; k += kThreads)
      sums[index * shape.totals + k] = tile.totals[k];
    __syncthreads();
  }
}

// As many samples as leave room for several blocks on a multiprocessor, whatever the GPU: the shape
// decides the order of sums.
template <class T>
TileShape tile_shape(const SortCall<T>& call, int64_t weights, int64_t totals) {
  constexpr int64_t wanted = 40 * 1024;
  const int64_t n = call.noise.n;
  STD_TORCH_CHECK(n <= Tile<T>::kMostElements, "sort: on a GPU a row can have at most ",
                  Tile<T>::kMostElements, " elements, got ", n);
  // Nobody asks for the elements of values; of what comes first there is one.
  const bool values = call.sorting.output == SortOutput::values;
  const int64_t indices = values ? 0 : call.sorting.only_first() ? 1 : n;
  TileShape shape{kMostShift, static_cast<int>(weights), static_cast<int>(indices),
                  static_cast<int>(totals)};
  while (shape.shift > 2 && Tile<T>::bytes(n, shape) > wanted) --shape.shift;
  return shape;
}

// Calls run(tag, blocks, dynamic shared memory, workspace); the tag says whether tiles lie in
// shared memory.
template <class F>
void with_tiles(int64_t tasks, int64_t tile_bytes, const Tensor& device, F&& run) {
  unsigned char* const none = nullptr;
  if (tile_bytes <= shared_memory_limit(device) - kDeclared)
    return run(std::true_type{}, tasks, tile_bytes, none);
  Workspace workspace(tasks, tile_bytes, device);
  run(std::false_type{}, workspace.blocks, int64_t(0), workspace.data());
}
template <class T>
Chunks many_chunks(const SortCall<T>& call, TileShape shape) {
  return cut(call.elements, ceil_div(call.noise.num_samples, int64_t(1) << shape.shift));
}

template <class T>
Tensor sum_outcomes(const SortCall<T>& call, const Tensor& x) {
  const bool matrix = call.sorting.output == SortOutput::matrix;
  const int64_t elements = call.elements, m = call.outcomes;
  const TileShape shape = tile_shape(call, 0, matrix ? 0 : m);
  const Chunks chunks = many_chunks(call, shape);
  // Counts are integers: blocks may add to the same ones in any order.
  const int64_t tables = matrix ? 1 : chunks.count;
  Tensor sums = matrix
                    ? torch::stable::new_zeros(x, {elements, tables, m}, ScalarType::Int)
                    : torch::stable::new_empty(x, {elements, tables, m}, ScalarType::Double);
  const int64_t bytes = Tile<T>::bytes(call.noise.n, shape);
  with_tiles(elements * chunks.count, bytes, x,
             [&](auto shared, int64_t blocks, int64_t dynamic, unsigned char* workspace) {
               launch(&many_outcomes_kernel<T, decltype(shared)::value>, blocks, kThreads, dynamic,
                      x, call, chunks, shape, workspace, bytes,
                      matrix ? mutable_data<uint32_t>(sums) : nullptr,
                      matrix ? nullptr : mutable_data<double>(sums));
             });
  return sums;
}

template <class T>
Tensor sum_weights(const SortCall<T>& call, const Upstream<T>& upstream, const Tensor& x) {
  const int64_t elements = call.elements, n = call.noise.n, weights = upstream.scale ? 2 * n : n;
  const TileShape shape = tile_shape(call, weights, weights);
  const Chunks chunks = many_chunks(call, shape);
  const int64_t count = chunks.count;
  Tensor sums = torch::stable::new_empty(x, {elements, count, weights}, ScalarType::Double);
  const int64_t bytes = Tile<T>::bytes(n, shape);
  with_tiles(elements * count, bytes, x,
             [&](auto shared, int64_t blocks, int64_t dynamic, unsigned char* workspace) {
               launch(&many_weights_kernel<T, decltype(shared)::value>, blocks, kThreads, dynamic,
                      x, call, upstream, chunks, shape, workspace, bytes,
                      mutable_data<double>(sums));
             });
  return sums;
}

}  // namespace

Tensor sum_many(const SortCall<float>& call, const Tensor& x) { return sum_outcomes(call, x); }
Tensor sum_many(const SortCall<double>& call, const Tensor& x) { return sum_outcomes(call, x); }
Tensor sum_many_weights(const SortCall<float>& call, const Upstream<float>& upstream,
                        const Tensor& x) {
  return sum_weights(call, upstream, x);
}
Tensor sum_many_weights(const SortCall<double>& call, const Upstream<double>& upstream,
                        const Tensor& x) {
  return sum_weights(call, upstream, x);
}

}  // namespace torchsmooth
