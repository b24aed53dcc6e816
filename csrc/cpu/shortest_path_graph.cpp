#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "../core/algorithms/shortest_path.h"
#include "samples.h"

namespace torchsmooth {
namespace {

// A directed graph: the edges that leave node u are [indptr[u], indptr[u + 1]), and edge e ends at
// indices[e].
struct Graph {
  const int64_t* indptr;
  const int64_t* indices;
  int64_t nodes;
  int64_t edges;
};

Graph check_graph(const Tensor& indptr, const Tensor& indices, int64_t edges) {
  const auto list = [](const Tensor& t) {
    return t.dim() == 1 && t.is_contiguous() && t.scalar_type() == ScalarType::Long;
  };
  STD_TORCH_CHECK(list(indptr) && indptr.size(0) >= 2 && list(indices) && indices.size(0) == edges,
                  "hard_shortest_path_graph: indptr and indices must be int64 of shapes [V + 1] and "
                  "[",
                  edges, "]");
  const Graph graph{data<int64_t>(indptr), data<int64_t>(indices), indptr.size(0) - 1, edges};
  STD_TORCH_CHECK(graph.indptr[0] == 0 && graph.indptr[graph.nodes] == edges &&
                      std::is_sorted(graph.indptr, graph.indptr + graph.nodes + 1),
                  "hard_shortest_path_graph: indptr must rise from 0 to ", edges);
  STD_TORCH_CHECK(std::all_of(graph.indices, graph.indices + edges,
                              [&](int64_t v) { return 0 <= v && v < graph.nodes; }),
                  "hard_shortest_path_graph: indices must lie in [0, ", graph.nodes, ")");
  return graph;
}

// Dijkstra, "A note on two problems in connexion with graphs", 1959, with a heap. One per thread.
template <class T>
class Search {
 public:
  explicit Search(const Graph& graph, double min_weight)
      : graph_(graph), bounds_(min_weight, graph.nodes), cost_(graph.nodes), entry_(graph.nodes) {}

  // Marks the edges of the cheapest path, or fails: there may be none.
  bool find(const T* weight, int64_t source, int64_t target, T* path) {
    std::fill(cost_.begin(), cost_.end(), unreached<T>());
    heap_.clear();
    cost_[source] = least_normal(T());
    heap_.emplace_back(cost_[source], source);
    while (!heap_.empty()) {
      const auto [cost, u] = heap_.front();
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      heap_.pop_back();
      if (u == target) break;
      if (cost > cost_[u]) continue;  // was reached at less cost since
      for (int64_t e = graph_.indptr[u]; e < graph_.indptr[u + 1]; ++e) {
        const int64_t v = graph_.indices[e];
        const T through = step_cost<BitsOf<T>>(cost, bounds_.clamp(weight[e]));
        // All nodes before v are done before v is: each step costs something.
        if (through == cost_[v]) entry_[v] = std::min(entry_[v], e);
        if (through >= cost_[v]) continue;
        cost_[v] = through;
        entry_[v] = e;
        heap_.emplace_back(through, v);
        std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
      }
    }
    if (cost_[target] == unreached<T>()) return false;
    for (int64_t v = target; v != source;) {
      const int64_t e = entry_[v];
      path[e] = T(1);
      v = std::upper_bound(graph_.indptr, graph_.indptr + graph_.nodes + 1, e) - graph_.indptr - 1;
    }
    return true;
  }

 private:
  const Graph graph_;
  const WeightBounds<T> bounds_;
  std::vector<T> cost_;
  std::vector<int64_t> entry_;  // the edge by which a node is reached, the first among equals
  std::vector<std::pair<T, int64_t>> heap_;
};

Tensor hard_shortest_path_graph(Tensor weights, Tensor indptr, Tensor indices, int64_t source,
                                int64_t target, double min_weight) {
  STD_TORCH_CHECK(weights.dim() == 2 && weights.is_contiguous(),
                  "hard_shortest_path_graph: weights must be contiguous of shape [R, E]");
  const int64_t rows = weights.size(0), edges = weights.size(1);
  const Graph graph = check_graph(indptr, indices, edges);
  STD_TORCH_CHECK(0 <= source && source < graph.nodes && 0 <= target && target < graph.nodes,
                  "hard_shortest_path_graph: source and target must lie in [0, ", graph.nodes, ")");
  STD_TORCH_CHECK(min_weight >= 0 && std::isfinite(min_weight),
                  "hard_shortest_path_graph: min_weight must be finite and >= 0");
  Tensor path = new_tensor(weights, {rows, edges},
                           {"finding shortest paths", "pass fewer rows of edge_weights"});
  dispatch_floating(weights, "hard_shortest_path_graph: weights", [&](auto type) {
    using T = decltype(type);
    const T* const input = data<T>(weights);
    T* const output = mutable_data<T>(path);
    const int64_t grain = std::max<int64_t>(1, 1000 / (graph.nodes + edges));
    torch::stable::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
      Search<T> search(graph, min_weight);
      for (int64_t row = begin; row < end; ++row) {
        const T* const weight = input + row * edges;
        T* const out = output + row * edges;
        std::fill(out, out + edges, T(0));
        const bool good =
            std::all_of(weight, weight + edges, [](T w) { return std::isfinite(w); });
        if (!good || !search.find(weight, source, target, out)) fill_nan(out, edges);
      }
    });
  });
  return path;
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("hard_shortest_path_graph", TORCH_BOX(&torchsmooth::hard_shortest_path_graph));
}
