// The CPU kernels' table: one function per kernel and type, one table per instruction set. The
// kernels know no tensors and allocate nothing; a task is a range of samples of one batch element.
// What a kernel works in is the last argument, see layouts.h.
#pragma once

#include "../core/algorithms/order_statistics.h"
#include "layouts.h"

namespace torchsmooth {

// Samples [begin, end) of a batch element. begin is a multiple of kBlock except for `perturb`,
// `words` and `reduce`, which address rows.
struct Range {
  int64_t element;
  int64_t begin;
  int64_t end;
};

// Of sums over samples, after so many at the latest no digits are kept in T. A kernel that is called
// for [a, a + kFlushed) and then for what is left gives the same sums as at once.
constexpr int64_t kFlushed = 128 * kBlock;

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
  void (*perturb)(const Noise<T>&, Range, const T* x, const T* matrix, T* out,
                  const PerturbScratch<T>&);

  // Adds to sums[k * (m + 1) + c], over the samples, (values[., c] - pivot[c]) * weight_k; column m
  // is the sum of the weights alone. k: n scores, then the moment's n or n^2 weights.
  void (*reduce)(const Noise<T>&, Range, Moment, int64_t m, const T* values, const T* pivot,
                 double* sums, const ReduceScratch<T>&);

  // Adds the number of samples in which element i has position first + k to counts[k * n + i].
  void (*sort_matrix)(const Noise<T>&, Range, Sorting, const T* x, uint32_t* counts,
                      const SortMatrixScratch<T>&);

  // Adds to table[(k * n + i) * width + .] the row (scores, 1, scale weights if scale) of every
  // sample in which element i has position first + k; one more row may take what is at other
  // positions. width: jacobian_width(n, scale).
  void (*sort_matrix_jacobian)(const Noise<T>&, Range, Sorting, bool scale, const T* x,
                               double* table, const SortMatrixJacobianScratch<T>&);

  // Adds outcome_k - pivot[k] to sums[k], for m outcomes (values or ranks). Scratch: for m sums.
  void (*sort_vector)(const Noise<T>&, Range, Sorting, const T* x, const T* pivot, double* sums,
                      const SortVectorScratch<T>&);

  // Adds to table[k * (w + 1) + c] the products of outcome_k - pivot[k] with the c-th of w weights
  // (n scores, then n scale weights if scale), c = w standing for 1; row m has the weights alone.
  // Scratch: for (m + 1) (w + 1) sums.
  void (*sort_vector_jacobian)(const Noise<T>&, Range, Sorting, bool scale, const T* x,
                               const T* pivot, double* table, const SortVectorScratch<T>&);

  // With g the sum of grad * (outcome - pivot) over the outcomes of a sample: adds (g - baseline) *
  // weight to sums: n scores, then n scale weights if scale. A matrix has no pivot.
  // Scratch: for one sum for each weight.
  void (*sort_backward)(const Noise<T>&, Range, Sorting, bool scale, const T* x, const T* pivot,
                        const T* grad, T baseline, double* sums, const SortVectorScratch<T>&);

  // Adds to sums what is expected: [n, positions] of the matrix, [positions] values, or [n] numbers of
  // elements below. scratch: order_scratch(task); indices: kMostGroups * 2 n.
  void (*order_statistics)(const OrderTask&, T* sums, T* scratch, int32_t* indices);

  // gradients = [n] in x and [n] in the scales, from upstream [n, n] (element, position; 0 where it is
  // not wanted), [n] positions, or [n] elements.
  void (*order_statistics_backward)(const OrderTask&, const T* upstream, T* gradients, T* scratch,
                                    int32_t* indices);

  // path[k * cells + i] = 1 where cell i lies on the path of grid k, else 0, for `count` grids, at
  // most kPathGrids, of any weights. Scratch: for kPathGrids grids.
  void (*hard_shortest_path)(const Grid&, int64_t count, const T* weights, T* path,
                             const PathScratch<T>&);

  // Adds the number of samples whose path has cell i to counts[i]. Scratch: for kBlock grids.
  void (*shortest_path)(const Noise<T>&, Range, const Grid&, const T* x, uint32_t* counts,
                        const PathScratch<T>&);

  // With g the sum of grad over the cells of a sample's path: adds (g - baseline) * weight to sums:
  // n scores, then n scale weights if scale.
  void (*shortest_path_backward)(const Noise<T>&, Range, const Grid&, bool scale, const T* x,
                                 const T* grad, T baseline, double* sums,
                                 const PathBackwardScratch<T>&);

  // images[k, row, column] for `count` poses.
  void (*hard_render)(const Scene<T>&, int64_t count, const T* poses, T* images,
                      const RenderScratch<T>&);

  // Adds the images of the samples to sums, [row, column], and to the `weights` planes behind it
  // (none, n scores, or n scores and n scale weights) the images times each weight. Planes are
  // render_plane(scene) apart; behind the last row, if there are weights, each has the sum of what
  // its images were multiplied with.
  void (*render)(const Noise<T>&, Range, const Scene<T>&, int weights, const T* x, double* sums,
                 const RenderScratch<T>&);

  // With g the sum of grad * image of a sample: adds (g - baseline) * weight to sums: n scores, then
  // n scale weights if scale.
  void (*render_backward)(const Noise<T>&, Range, const Scene<T>&, bool scale, const T* x,
                          const T* grad, double baseline, double* sums, const RenderScratch<T>&);
};

inline int64_t order_scratch(const OrderTask& task) {
  const int64_t n = task.contest.axis.n;
  return kMostNodesOfGroup * (task.groups * (5 * n + 1) + 8 * (n + 1));
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
