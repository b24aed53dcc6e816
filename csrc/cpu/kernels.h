// The CPU kernels' table: one function per kernel and type, one table per instruction set. The
// kernels know no tensors and allocate nothing; a task is a range of samples of one batch element.
#pragma once

#include <algorithm>

#include "../core/algorithms/order_statistics.h"
#include "../core/algorithms/raster.h"
#include "../core/algorithms/shortest_path.h"
#include "../core/algorithms/sort.h"
#include "../core/noise.h"

namespace torchsmooth {

constexpr int kQuads = 8;           // quads of samples that are computed together, one per lane
constexpr int kLanes = 4 * kQuads;  // samples per block
constexpr int kPathLanes = 2 * kQuads;  // grids whose paths are found together

// Samples [begin, end) of a batch element. begin is a multiple of kLanes except for `perturb`,
// `words` and `reduce`, which address rows.
struct Range {
  int64_t element;
  int64_t begin;
  int64_t end;
};

// A contest, what of it is wanted, and how many groups of nodes are evaluated before they are summed.
constexpr int kMostGroups = 8;
struct OrderTask {
  Contest contest;
  SortOutput output;
  int groups;
};
constexpr int64_t kMostNodesOfGroup = 16;  // what a register of any instruction set holds

template <class T>
struct Kernels {
  // out[(i - begin) * n + j] = word of sample i, dimension j.
  void (*words)(const Points&, int64_t seed, int64_t n, Range, int64_t* out);

  // out[(i - begin) * n + j] = (x + L noise_i)_j. matrix: L, [n, n], or null for noise.scale.
  // scratch: n * kLanes.
  void (*perturb)(const Noise<T>&, Range, const T* x, const T* matrix, T* out, T* scratch);

  // Adds to sums[k * (m + 1) + c], over the samples, (values[., c] - pivot[c]) * weight_k; column m
  // is the sum of the weights alone. k: n scores, then the moment's n or n^2 weights.
  // scratch: reduce_scratch(n, weights, m).
  void (*reduce)(const Noise<T>&, Range, Moment, int64_t m, const T* values, const T* pivot,
                 double* sums, T* scratch);

  // Adds the number of samples in which element i has position first + k to counts[k * n + i]. The
  // entry behind them may count what is at other positions. scratch: sort_scratch(n, cells, 1).
  void (*sort_matrix)(const Noise<T>&, Range, Sorting, const T* x, uint32_t* counts, T* scratch);

  // Adds to table[(k * n + i) * width + .] the row (scores, 1, scale weights if scale) of every
  // sample in which element i has position first + k; one more row may take what is at other
  // positions. width: jacobian_width(n, scale). scratch: sort_scratch(n, cells, width).
  void (*sort_matrix_jacobian)(const Noise<T>&, Range, Sorting, bool scale, const T* x,
                               double* table, T* scratch);

  // Adds outcome_k - pivot[k] to sums[k], for m outcomes (values or ranks). scratch: 4 n kLanes +
  // m kQuads.
  void (*sort_vector)(const Noise<T>&, Range, Sorting, const T* x, const T* pivot, double* sums,
                      T* scratch);

  // Adds to table[k * (w + 1) + c] the products of outcome_k - pivot[k] with the c-th of w weights
  // (n scores, then n scale weights if scale), c = w standing for 1; row m has the weights alone.
  // scratch: 4 n kLanes + (m + 1) (w + 1) kQuads.
  void (*sort_vector_jacobian)(const Noise<T>&, Range, Sorting, bool scale, const T* x,
                               const T* pivot, double* table, T* scratch);

  // With g the sum of grad * (outcome - pivot) over the outcomes of a sample: adds (g - baseline) *
  // weight to sums: n scores, then n scale weights if scale. A matrix has no pivot.
  // scratch: 4 n kLanes + (scale ? 2 : 1) n kQuads.
  void (*sort_backward)(const Noise<T>&, Range, Sorting, bool scale, const T* x, const T* pivot,
                        const T* grad, T baseline, double* sums, T* scratch);

  // Adds to sums what is expected: [n, positions] of the matrix, [positions] values, or [n] numbers of
  // elements below. scratch: order_scratch(task); indices: kMostGroups * 2 n.
  void (*order_statistics)(const OrderTask&, T* sums, T* scratch, int32_t* indices);

  // gradients = [n] in x and [n] in the scales, from upstream [n, n] (element, position; 0 where it is
  // not wanted), [n] positions, or [n] elements.
  void (*order_statistics_backward)(const OrderTask&, const T* upstream, T* gradients, T* scratch,
                                    int32_t* indices);

  // path[k * cells + i] = 1 where cell i lies on the path of grid k, else 0, for `count` grids, at
  // most kPathLanes, of any weights. scratch: path_scratch(grid, kPathLanes).
  void (*hard_shortest_path)(const Grid&, int64_t count, const T* weights, T* path, T* scratch);

  // Adds the number of samples whose path has cell i to counts[i].
  // scratch: path_scratch(grid, kLanes).
  void (*shortest_path)(const Noise<T>&, Range, const Grid&, const T* x, uint32_t* counts,
                        T* scratch);

  // With g the sum of grad over the cells of a sample's path: adds (g - baseline) * weight to sums:
  // n scores, then n scale weights if scale. scratch: path_scratch(grid, kLanes) + (scale ? 2 : 1)
  // n (kLanes + kQuads).
  void (*shortest_path_backward)(const Noise<T>&, Range, const Grid&, bool scale, const T* x,
                                 const T* grad, T baseline, double* sums, T* scratch);

  // images[k, row, column] for `count` poses. scratch: render_scratch(scene).
  void (*hard_render)(const Scene<T>&, int64_t count, const T* poses, T* images, T* scratch);

  // Adds the images of the samples to sums, [row, column], and to the `weights` planes behind it
  // (none, n scores, or n scores and n scale weights) the images times each weight. Planes are
  // render_plane(scene) apart; behind the last row, if there are weights, each has the sum of what
  // its images were multiplied with. scratch: render_scratch(scene).
  void (*render)(const Noise<T>&, Range, const Scene<T>&, int weights, const T* x, double* sums,
                 T* scratch);

  // With g the sum of grad * image of a sample: adds (g - baseline) * weight to sums: n scores, then
  // n scale weights if scale. scratch: render_scratch(scene).
  void (*render_backward)(const Noise<T>&, Range, const Scene<T>&, bool scale, const T* x,
                          const T* grad, double baseline, double* sums, T* scratch);
};

// Rows of a table as wide as a vector register, so that adding one is a few instructions.
inline int64_t jacobian_width(int64_t n, bool scale) {
  return ((scale ? 2 * n + 1 : n + 1) + 7) / 8 * 8;
}

inline int64_t order_scratch(const OrderTask& task) {
  const int64_t n = task.contest.axis.n;
  return kMostNodesOfGroup * (task.groups * (5 * n + 1) + 8 * (n + 1));
}

// Whether `reduce` keeps its sums lane by lane: not if there are so many that they leave the cache.
inline bool columns_are_few(int64_t m, int64_t weights) {
  return m <= 32 && weights * (m + 1) <= 32768;
}
inline int64_t reduce_scratch(int64_t n, int64_t weights, int64_t m) {
  const bool few = columns_are_few(m, weights);
  return (4 * n + 1) * kLanes + (few ? (m + 1) * kLanes : 0) +
         weights * (m + 1) * (few ? kQuads : 1);
}

// Up to so many elements there are few permutations, and the Jacobian of a matrix is summed
// permutation by permutation: a sample adds one row, not one for each element.
constexpr int64_t kPermutationLimit = 5;
constexpr int64_t factorial(int64_t n) { return n < 2 ? 1 : n * factorial(n - 1); }

// What sorting into a matrix needs: the block, a row of `width` for each lane, and sums for all
// cells and one more, or for all permutations and then for all cells.
inline int64_t sort_scratch(int64_t n, int64_t cells, int64_t width) {
  const int64_t permutations = n <= kPermutationLimit ? factorial(n) : 0;
  const int64_t rows = std::max((cells + 1) * kQuads, 2 * permutations + cells);
  return (4 * n + width) * kLanes + rows * width;
}

// The weights of so many lanes, and costs.
inline int64_t path_scratch(const Grid& grid, int64_t lanes) {
  return grid.cells() * lanes + int64_t(grid.places()) * kPathLanes;
}

// Images of kQuads poses, and the corners of the mesh as they see it.
template <class T>
TS_HD int64_t render_scratch(const Scene<T>& scene) {
  const int64_t words = (scene.size + 63) / 64, per_word = sizeof(uint64_t) / sizeof(T);
  const int64_t image = scene.output == RenderOutput::silhouette
                            ? int64_t(scene.size + 1) * words * per_word
                            : (scene.output == RenderOutput::depth ? 1 : 2) * scene.pixels();
  return (image + 3 * scene.num_vertices) * kQuads + scene.num_vertices + 2 * kQuads;
}

// Pixels are added kQuads at a time, also where a row ends.
template <class T>
TS_HD int64_t render_plane(const Scene<T>& scene) {
  return scene.pixels() + kQuads;
}

// The tables of the widest instruction set that this machine has, or of the one that the
// environment variable TORCHSMOOTH_CPU names (baseline, avx2, avx512).
template <class T>
const Kernels<T>& kernels();

#define TORCHSMOOTH_DECLARE_ISA(isa) \
  namespace isa {                    \
  extern const Kernels<float> f32;   \
  extern const Kernels<double> f64;  \
  }
TORCHSMOOTH_DECLARE_ISA(baseline)
#if defined(__x86_64__) && defined(__GNUC__)
#define TORCHSMOOTH_X86_ISAS 1
TORCHSMOOTH_DECLARE_ISA(avx2)
TORCHSMOOTH_DECLARE_ISA(avx512)
#endif

}  // namespace torchsmooth
