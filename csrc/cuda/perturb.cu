#include "device.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 256;

// The quads of samples that meet the rows [start, stop), counted through all elements.
struct RowQuads {
  int64_t start;
  int64_t stop;
  int64_t num_samples;
  int64_t per_element;
  int64_t first;
  int64_t count;

  RowQuads(int64_t start, int64_t stop, int64_t num_samples)
      : start(start), stop(stop), num_samples(num_samples), per_element(ceil_div(num_samples, 4)) {
    const auto quad_of = [&](int64_t row) {
      return row / num_samples * per_element + row % num_samples / 4;
    };
    first = quad_of(start);
    count = quad_of(stop - 1) - first + 1;
  }

  // The row of sample c of an element's quad, from start on, or -1 if it is not asked for.
  __device__ int64_t row(int64_t element, int64_t quad, int c) const {
    const int64_t sample = 4 * quad + c, row = element * num_samples + sample;
    return sample < num_samples && row >= start && row < stop ? row - start : -1;
  }
};

// A thread has a quad and a dimension; the dimension is the fast index, so that a warp writes
// stretches of memory. Calls each(element, quad, j).
template <class F>
__device__ __forceinline__ void for_each_item(const RowQuads& rows, int64_t n, F&& each) {
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x; item < rows.count * n;
       item += stride) {
    const int64_t index = rows.first + item / n, element = index / rows.per_element;
    each(element, index - element * rows.per_element, item % n);
  }
}

__global__ void __launch_bounds__(kThreads)
    words_kernel(const Points points, const RowQuads rows, int64_t n,
                 const int64_t* __restrict__ seed,  // [1]
                 int64_t* __restrict__ out) {       // [stop - start, n]
  for_each_item(rows, n, [&](int64_t element, int64_t quad, int64_t j) {
    uint32_t word[4];
    quad_words<false>(points, *seed, static_cast<uint32_t>(element), static_cast<uint32_t>(j),
                      static_cast<uint32_t>(quad), word);
    for (int c = 0; c < 4; ++c) {
      const int64_t row = rows.row(element, quad, c);
      if (row >= 0) out[row * n + j] = word[c];
    }
  });
}

template <class T, bool kMonteCarlo>
__global__ void __launch_bounds__(kThreads)
    perturb_kernel(const Noise<T> noise, const RowQuads rows,
                   const T* __restrict__ x,  // [B, n]
                   T* __restrict__ out) {    // [stop - start, n]
  const int64_t n = noise.n, seed = *noise.seed;
  for_each_item(rows, n, [&](int64_t element, int64_t quad, int64_t j) {
    const T center = x[element * n + j], scale = noise.scale_at(element, j);
    for_quad<false, kMonteCarlo>(noise, seed, element, j, quad, [&](int c, const Weights<T>& w) {
      const int64_t row = rows.row(element, quad, c);
      if (row >= 0) out[row * n + j] = fused(scale, w.noise, center);
    });
  });
}

// Tiles of the product of a scale matrix and the noise: `dimensions` rows of the matrix by `quads`
// quads of samples. A thread has one quad and four dimensions, `groups` apart, so that a warp
// writes stretches of memory.
struct MatrixTiles {
  static constexpr int kEach = 4;
  static constexpr int kMostDimensions = 64;
  static constexpr int kNoiseQuads = 512;  // that shared memory holds

  int dimensions;
  int groups;
  int quads;
  int depth;  // columns of the matrix that are worked on at a time
  int64_t across;
  int64_t per_element;

  MatrixTiles(int64_t n, int64_t num_samples) : dimensions(kEach) {
    while (dimensions < n && dimensions < kMostDimensions) dimensions *= 2;
    groups = dimensions / kEach;
    quads = kThreads / groups;
    depth = kNoiseQuads / quads;
    across = ceil_div(n, dimensions);
    per_element = ceil_div(ceil_div(num_samples, 4), quads);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    perturb_matrix_kernel(const Noise<T> noise, const RowQuads rows, const MatrixTiles tiles,
                          int64_t first_element, int64_t elements, int64_t matrix_stride,
                          const T* __restrict__ x,       // [B, n]
                          const T* __restrict__ matrix,  // [1 or B, n, n]
                          T* __restrict__ out) {         // [stop - start, n]
  constexpr int kEach = MatrixTiles::kEach;
  __shared__ Quad<T> epsilon[MatrixTiles::kNoiseQuads];  // [depth, quads]
  // [depth, dimensions + 1]: a step that is odd, so that a column's entries lie in all banks.
  __shared__ T factor[(MatrixTiles::kMostDimensions / 2) * (MatrixTiles::kMostDimensions + 1)];
  const int64_t n = noise.n, seed = *noise.seed;
  const int step = tiles.dimensions + 1;
  const int group = threadIdx.x % tiles.groups, q = threadIdx.x / tiles.groups;
  const int64_t per_element = tiles.per_element * tiles.across;
  for (int64_t task = blockIdx.x; task < elements * per_element; task += gridDim.x) {
    const int64_t element = first_element + task / per_element;
    const int64_t first_quad = task % per_element / tiles.across * tiles.quads;
    const int64_t first_j = task % tiles.across * tiles.dimensions;
    const int64_t row = element * rows.num_samples + 4 * first_quad;
    if (row + 4 * tiles.quads <= rows.start || row >= rows.stop) continue;
    const T* const m = matrix + element * matrix_stride;
    T y[kEach][4];
    for (int a = 0; a < kEach; ++a) {
      const int64_t j = first_j + a * tiles.groups + group;
      for (int c = 0; c < 4; ++c) y[a][c] = j < n ? x[element * n + j] : T(0);
    }
    for (int64_t first_k = 0; first_k < n; first_k += tiles.depth) {
      const int depth = static_cast<int>(min(int64_t(tiles.depth), n - first_k));
      for (int item = threadIdx.x; item < depth * tiles.quads; item += kThreads) {
        Quad<T> draws;
        for_quad<false, false>(noise, seed, element, first_k + item / tiles.quads,
                               first_quad + item % tiles.quads,
                               [&](int c, const Weights<T>& w) { draws.v[c] = w.noise; });
        epsilon[item] = draws;
      }
      for (int item = threadIdx.x; item < depth * tiles.dimensions; item += kThreads) {
        const int k = item % depth, a = item / depth;
        const int64_t j = first_j + a;
        factor[k * step + a] = j < n ? m[j * n + first_k + k] : T(0);
      }
      __syncthreads();
      for (int k = 0; k < depth; ++k) {
        const Quad<T> draws = epsilon[k * tiles.quads + q];
        for (int a = 0; a < kEach; ++a) {
          const T f = factor[k * step + a * tiles.groups + group];
          for (int c = 0; c < 4; ++c) y[a][c] = fused(f, draws.v[c], y[a][c]);
        }
      }
      __syncthreads();
    }
    for (int c = 0; c < 4; ++c) {
      const int64_t at = rows.row(element, first_quad + q, c);
      for (int a = 0; a < kEach; ++a) {
        const int64_t j = first_j + a * tiles.groups + group;
        if (at >= 0 && j < n) out[at * n + j] = y[a][c];
      }
    }
  }
}

Tensor words(Tensor seed, Tensor directions, std::string sampler, bool antithetic,
             int64_t num_samples, int64_t n, int64_t start, int64_t stop) {
  STD_TORCH_CHECK(seed.numel() == 1 && seed.scalar_type() == ScalarType::Long,
                  "words: seed must be an int64 tensor of one element");
  STD_TORCH_CHECK(n >= 0 && 0 <= start && start <= stop, "words: needs n >= 0, 0 <= start <= stop");
  check_noise_devices(seed, directions, seed);
  const Points points = make_points(directions, sampler, antithetic, num_samples, n);
  const DeviceGuard guard(seed.get_device_index());
  Tensor out = torch::stable::new_empty(seed, {stop - start, n});
  if (out.numel() == 0) return out;
  const RowQuads rows(start, stop, num_samples);
  launch(&words_kernel, ceil_div(rows.count * n, kThreads), kThreads, 0, seed, points, rows, n,
         data<int64_t>(seed), mutable_data<int64_t>(out));
  return out;
}

Tensor perturb(Tensor x, Tensor scale, Tensor seed, Tensor directions, std::string law,
               std::string sampler, bool antithetic, int64_t num_samples, int64_t start,
               int64_t stop) {
  STD_TORCH_CHECK(x.dim() == 2, "perturb: x must be [B, n], got ", x.dim(), " dimensions");
  const int64_t elements = x.size(0), n = x.size(1);
  check_matrix(x, "perturb: x", elements, n);
  check_rows("perturb", start, stop, elements, n, num_samples);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "perturb: scale must have x's dtype");
  const bool is_matrix = scale.dim() == 3;
  STD_TORCH_CHECK(!is_matrix || ((scale.size(0) == 1 || scale.size(0) == elements) &&
                                 scale.size(1) == n && scale.size(2) == n && scale.is_contiguous()),
                  "perturb: a scale matrix must be contiguous of shape [1 or B, n, n]");
  check_device(scale, "perturb: scale", x);
  check_noise_devices(seed, directions, x);
  const DeviceGuard guard(x.get_device_index());
  Tensor out = torch::stable::new_empty(x, {stop - start, n});
  dispatch_floating(x, "perturb: x", [&](auto type) {
    using T = decltype(type);
    // The kernel does not look at noise.scale when it has a matrix: any tensor of the shape will do.
    const Noise<T> noise =
        make_noise<T>(is_matrix ? x : scale, seed, directions, law, sampler, antithetic,
                      num_samples, 0.0, elements, n);
    if (out.numel() == 0) return;
    const RowQuads rows(start, stop, num_samples);
    if (is_matrix) {
      const MatrixTiles tiles(n, num_samples);
      const int64_t first = start / num_samples, touched = (stop - 1) / num_samples - first + 1;
      launch(&perturb_matrix_kernel<T>, touched * tiles.per_element * tiles.across, kThreads, 0, x,
             noise, rows, tiles, first, touched, scale.size(0) > 1 ? n * n : int64_t(0),
             data<T>(x), data<T>(scale), mutable_data<T>(out));
    } else {
      with_monte_carlo(noise, [&](auto monte_carlo) {
        launch(&perturb_kernel<T, decltype(monte_carlo)::value>, ceil_div(rows.count * n, kThreads),
               kThreads, 0, x, noise, rows, data<T>(x), mutable_data<T>(out));
      });
    }
  });
  return out;
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("words", TORCH_BOX(&torchsmooth::words));
  m.impl("perturb", TORCH_BOX(&torchsmooth::perturb));
}
