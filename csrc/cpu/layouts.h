// The arrays that each kernel works in. `layout` places them in an arena, and whoever calls a kernel
// hands it the result: nobody else computes a size or a pointer.
#pragma once

#include "../core/algorithms/raster.h"
#include "../core/algorithms/shortest_path.h"
#include "../core/algorithms/sort.h"
#include "../core/noise.h"
#include "arena.h"

namespace torchsmooth {

constexpr int kQuads = 8;  // quads of samples that are computed together, one in each vector lane
constexpr int kBlock = 4 * kQuads;     // samples that are computed together
constexpr int kPathGrids = 2 * kQuads;  // grids whose paths are found together

template <class T>
struct PerturbScratch {
  T* epsilon;  // [n, kBlock]

  static PerturbScratch layout(Arena& arena, int64_t n) { return {arena.array<T>(n * kBlock)}; }
};

// Whether `reduce` keeps the sums of each vector lane: not if they would leave the cache.
TS_HD bool columns_are_few(int64_t m, int64_t weights) {
  return m <= 32 && weights * (m + 1) <= 32768;
}

template <class T>
struct ReduceScratch {
  T* score;         // [n, kBlock]
  T* scale;         // [n, kBlock]: scale weights, or for outer the noise
  T* mirror_noise;  // [n, kBlock]: of the mirror images
  T* mirror_score;  // [n, kBlock]
  T* weight;        // [kBlock]
  T* column;        // few columns: [m + 1, kBlock], the values
  T* partial;       // sums: few columns: [weights, m + 1, kQuads], else [weights, m + 1]

  static ReduceScratch layout(Arena& arena, int64_t n, int64_t weights, int64_t m) {
    const bool few = columns_are_few(m, weights);
    return {arena.array<T>(n * kBlock),
            arena.array<T>(n * kBlock),
            arena.array<T>(n * kBlock),
            arena.array<T>(n * kBlock),
            arena.array<T>(kBlock),
            arena.array<T>(few ? (m + 1) * kBlock : 0),
            arena.array<T>(weights * (m + 1) * (few ? kQuads : 1))};
  }
};

// One block of rows, and how they are sorted.
template <class T>
struct SortScratch {
  T* y;              // [n, kBlock]
  BitsOf<T>* index;  // [n, kBlock]
  T* weight;         // [2 n, kBlock]: scores, scale weights

  static SortScratch layout(Arena& arena, int64_t n) {
    return {arena.array<T>(n * kBlock), arena.array<BitsOf<T>>(n * kBlock),
            arena.array<T>(2 * n * kBlock)};
  }
};

// Up to here, comparing all pairs takes fewer instructions than the sorting network.
constexpr int64_t kCountingLimit = 24;
// Whether the sort gives the position of each element, else the element of each position.
TS_HD bool positions_are_counted(int64_t n, const Sorting& sorting) {
  return n <= kCountingLimit && !sorting.only_first();
}

// Up to so many elements there are few permutations, and the Jacobian of a matrix is summed
// permutation by permutation: a sample adds one row, not one for each element.
constexpr int64_t kPermutationLimit = 5;
TS_HD bool permutations_are_few(int64_t n, const Sorting& sorting) {
  return n <= kPermutationLimit && !sorting.only_first();
}
constexpr int64_t factorial(int64_t n) { return n < 2 ? 1 : n * factorial(n - 1); }

// Rows of a table as wide as a vector register, so that adding one is a few instructions.
TS_HD int64_t jacobian_width(int64_t n, bool scale) {
  return ((scale ? 2 * n + 1 : n + 1) + 7) / 8 * 8;
}

template <class T>
struct SortMatrixScratch {
  SortScratch<T> block;
  BitsOf<T>* present;  // [kBlock]: 1 for a sample of the range; of counted positions, as is
  BitsOf<T>* partial;  // [positions, n, kQuads]: sums

  static SortMatrixScratch layout(Arena& arena, int64_t n, const Sorting& sorting) {
    const bool counted = positions_are_counted(n, sorting);
    return {SortScratch<T>::layout(arena, n), arena.array<BitsOf<T>>(counted ? kBlock : 0),
            arena.array<BitsOf<T>>(counted ? sorting.positions() * n * kQuads : 0)};
  }
};

// Sums of rows are kept twice, for even and for odd samples, so that one addition need not wait for
// the one before.
template <class T>
struct SortMatrixJacobianScratch {
  SortScratch<T> block;
  T* present;  // [kBlock]: 1 for a sample of the range
  T* partial;  // few permutations: [2, n!, width]; else [2, positions * n + 1, width]
  T* zeros;    // few permutations: [kBlock]
  T* cells;    // few permutations: [positions, n, width]
  T* rows;     // else: [kQuads, width]

  static SortMatrixJacobianScratch layout(Arena& arena, int64_t n, const Sorting& sorting,
                                          bool scale) {
    const bool few = permutations_are_few(n, sorting);
    const int64_t cells = sorting.positions() * n, width = jacobian_width(n, scale);
    return {SortScratch<T>::layout(arena, n),
            arena.array<T>(kBlock),
            arena.array<T>(2 * (few ? factorial(n) : cells + 1) * width),
            arena.array<T>(few ? kBlock : 0),
            arena.array<T>(few ? cells * width : 0),
            arena.array<T>(few ? 0 : kQuads * width)};
  }
};

// For `sums` sums over samples.
template <class T>
struct SortVectorScratch {
  SortScratch<T> block;
  T* partial;  // [sums, kQuads]

  static SortVectorScratch layout(Arena& arena, int64_t n, int64_t sums) {
    return {SortScratch<T>::layout(arena, n), arena.array<T>(sums * kQuads)};
  }
};

// Whether `count` grids, at most kPathGrids, are searched one by one, not swept together: where a few
// would have to pay for all, and where all together would take too much memory.
TS_HD bool grids_are_searched(const Grid& grid, int64_t count) {
  return grid.cells() > (count <= 2 ? 256 : 1 << 18);
}

// `grids`: how many are perturbed or swept together, a multiple of kPathGrids; 0 to search them one
// by one.
template <class T>
struct PathScratch {
  T* weight;      // [grids / kPathGrids, cells, kPathGrids]
  T* cost;        // [places, kPathGrids], or [places]
  int32_t* next;  // [places], see CostQueue

  static PathScratch layout(Arena& arena, const Grid& grid, int64_t grids) {
    return {arena.array<T>(int64_t(grid.cells()) * grids),
            arena.array<T>(int64_t(grid.places()) * (grids > 0 ? kPathGrids : 1)),
            arena.array<int32_t>(grid.places())};
  }
};

template <class T>
struct PathBackwardScratch {
  PathScratch<T> block;
  T* weight;   // [weights, kBlock]: scores, scale weights
  T* partial;  // [weights, kQuads]: sums

  static PathBackwardScratch layout(Arena& arena, const Grid& grid, int64_t weights) {
    return {PathScratch<T>::layout(arena, grid, kBlock), arena.array<T>(weights * kBlock),
            arena.array<T>(weights * kQuads)};
  }
};

// Images of kQuads poses, and the corners of the mesh as they see it.
template <class T>
struct RenderScratch {
  T* corners;        // [num_vertices, 3, kQuads]: x, y, 1 / depth
  uint8_t* special;  // [num_vertices]: whether it is not plain in a lane
  uint64_t* bits;    // silhouettes: [size + 1, kQuads, words]; the last row is no one's
  T* nearest;        // else: [kQuads, size, size]: 1 / depth of what is seen, 0 for nothing
  T* shades;         // lambert: the same of its shade

  static RenderScratch layout(Arena& arena, const Scene<T>& scene) {
    const int64_t words = (scene.size + 63) / 64, image = scene.pixels() * kQuads;
    const bool silhouette = scene.output == RenderOutput::silhouette;
    return {arena.array<T>(3 * scene.num_vertices * kQuads),
            arena.array<uint8_t>(scene.num_vertices),
            arena.array<uint64_t>(silhouette ? int64_t(scene.size + 1) * words * kQuads : 0),
            arena.array<T>(silhouette ? 0 : image),
            arena.array<T>(scene.output == RenderOutput::lambert ? image : 0)};
  }
};

}  // namespace torchsmooth
