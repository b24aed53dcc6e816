// Every schema, in one table.
//
// Rows: the samples of all batch elements in one list; row r is sample r % num_samples of element
// r / num_samples. Ops that can be called in chunks take a range [start, stop) of rows.
//
// The arguments that say what the noise is have the same names everywhere:
//   seed         int64, one element     directions  int32 [>= n, 32] (sobol) or empty
//   law          a name of core/laws.h     sampler  a name of core/samplers.h
//   scale        [1 or B, 1 or n]       pair_weight  see core/noise.h
// Real tensors are float32 or float64, all of one type, and contiguous.

#include "../stable.h"

STABLE_TORCH_LIBRARY(torchsmooth, m) {
  // The uniform numbers as words: int64 [stop - start, n] of values in [0, 2^32).
  m.def(
      "words(Tensor seed, Tensor directions, str sampler, bool antithetic, SymInt num_samples, "
      "SymInt n, SymInt start, SymInt stop) -> Tensor");

  // Perturbed rows [stop - start, n] of x [B, n]. scale [1 or B, n, n] is a scale matrix.
  m.def(
      "perturb(Tensor x, Tensor scale, Tensor seed, Tensor directions, str law, str sampler, bool "
      "antithetic, SymInt num_samples, SymInt start, SymInt stop) -> Tensor");

  // Sums over the rows of each element of (values [R, M] - pivot [B, M]) * weight: with the scores
  // [E, M + 1, n], and with the weights of the moment ("none", "diagonal", "outer") [E, M + 1, 0,
  // n or n^2]. Entry M is the sum of the weights alone; E counts the elements that the rows touch.
  m.def(
      "reduce(Tensor values, Tensor pivot, Tensor seed, Tensor directions, str law, str sampler, "
      "bool antithetic, SymInt num_samples, SymInt n, float pair_weight, str moment, SymInt start, "
      "SymInt stop) -> (Tensor, Tensor)");

  // The mean outcome of sorting x [B, n]: output = "matrix" gives the rows [first, last) of the
  // permutation matrix, [B, last - first, n]; "values" the order statistics at these positions, [B,
  // last - first]; "ranks" all ranks from 1, [B, n]. For jacobian = "x" or "x_and_scale" also the
  // derivatives [B, *outcome, n] in x and in each element's scale (else empty). baseline: "none",
  // "fx", "mean".
  m.def(
      "sort(Tensor x, Tensor scale, Tensor seed, Tensor directions, str law, str sampler, bool "
      "antithetic, SymInt num_samples, bool descending, str output, SymInt first, SymInt last, str "
      "baseline, float factor, float pair_weight, str jacobian) -> (Tensor, Tensor, Tensor)");

  // Gradients [B, n] in x and [B, n] (or [B, 0]) in each element's scale, from that in the mean
  // outcome; baseline [B] is subtracted from each sample's contribution.
  m.def(
      "sort_backward(Tensor grad, Tensor baseline, Tensor x, Tensor scale, Tensor seed, Tensor "
      "directions, str law, str sampler, bool antithetic, SymInt num_samples, bool descending, str "
      "output, SymInt first, SymInt last, float factor, float pair_weight, bool scale_gradient) -> "
      "(Tensor, Tensor)");

  // What `sort` gives on average, without samples: the expectations of the same outputs, for
  // independent noise.
  m.def(
      "order_statistics(Tensor x, Tensor scale, str law, bool descending, str output, SymInt first, "
      "SymInt last) -> Tensor");

  // Gradients [B, n] in x and [B, n] (or [B, 0]) in each element's scale, from that in the outcome.
  m.def(
      "order_statistics_backward(Tensor grad, Tensor x, Tensor scale, str law, bool descending, str "
      "output, SymInt first, SymInt last, bool scale_gradient) -> (Tensor, Tensor)");

  // The cells of the cheapest paths through grids of weights [R, H, W], as 0/1 indicators of the same
  // shape. neighbors: 4 or 8; source and target count the cells in row-major order.
  m.def(
      "hard_shortest_path(Tensor weights, SymInt neighbors, SymInt source, SymInt target, float "
      "min_weight) -> Tensor");

  // Their mean over perturbed x [B, H, W].
  m.def(
      "shortest_path(Tensor x, Tensor scale, Tensor seed, Tensor directions, str law, str sampler, "
      "bool antithetic, SymInt num_samples, SymInt neighbors, SymInt source, SymInt target, float "
      "min_weight) -> Tensor");

  // Gradients [B, H, W] in x and [B, H * W] (or [B, 0]) in each element's scale, from that in the
  // mean; baseline [B] is subtracted from each sample's contribution.
  m.def(
      "shortest_path_backward(Tensor grad, Tensor baseline, Tensor x, Tensor scale, Tensor seed, "
      "Tensor directions, str law, str sampler, bool antithetic, SymInt num_samples, SymInt "
      "neighbors, SymInt source, SymInt target, float min_weight, float factor, float pair_weight, "
      "bool scale_gradient) -> (Tensor, Tensor)");

  // The edges of the cheapest paths through a directed graph, as 0/1 indicators of the shape of
  // weights [R, E]: those that leave node u are [indptr[u], indptr[u + 1]), edge e ends at indices[e]
  // (int64). NaN where the target cannot be reached.
  m.def(
      "hard_shortest_path_graph(Tensor weights, Tensor indptr, Tensor indices, SymInt source, SymInt "
      "target, float min_weight) -> Tensor");

  // Images [B, size, size] of a mesh, vertices [V, 3] and faces [F, 3] (int32), seen from poses [B,
  // 4]. output: "silhouette", "depth", "lambert".
  m.def(
      "hard_render(Tensor pose, Tensor vertices, Tensor faces, SymInt size, str output) -> Tensor");

  // Their mean over perturbed poses. For jacobian = "x" or "x_and_scale" also the derivatives [B,
  // size, size, 4] in x and in each element's scale (else empty). baseline: "none", "fx", "mean".
  m.def(
      "render(Tensor x, Tensor vertices, Tensor faces, Tensor scale, Tensor seed, Tensor directions, "
      "str law, str sampler, bool antithetic, SymInt num_samples, SymInt size, str output, str "
      "baseline, float factor, float pair_weight, str jacobian) -> (Tensor, Tensor, Tensor)");

  // Gradients [B, 4] in x and [B, 4] (or [B, 0]) in each element's scale, from that in the mean image;
  // baseline [B] is subtracted from each sample's contribution.
  m.def(
      "render_backward(Tensor grad, Tensor baseline, Tensor x, Tensor vertices, Tensor faces, Tensor "
      "scale, Tensor seed, Tensor directions, str law, str sampler, bool antithetic, SymInt "
      "num_samples, SymInt size, str output, float factor, float pair_weight, bool scale_gradient) "
      "-> (Tensor, Tensor)");

  // One function ("icdf", "cdf", "log_prob", "score") of a standard law, elementwise.
  m.def("evaluate_law(Tensor x, str law, str function) -> Tensor");
}
