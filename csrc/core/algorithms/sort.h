// Sorting as smoothing needs it: ranks, order, sorted values; ties go to the lower index. Keys are
// finite (the callers answer rows with NaN or infinities themselves).
#pragma once

#include "../macros.h"

namespace torchsmooth {

// What of a sorted row is averaged over the samples.
enum class SortOutput : int32_t {
  matrix,  // [last - first, n]: 1 where element i has position first + k
  values,  // [last - first]: the elements at these positions
  ranks,   // [n]: the position of every element, counted from 1
};

// Passed by value to the kernels that sort.
struct Sorting {
  SortOutput output;
  bool descending;
  int64_t first;  // positions [first, last) are wanted; for ranks [0, n)
  int64_t last;

  TS_HD int64_t positions() const { return last - first; }
  // Only what comes first is wanted: a search, not a sort.
  TS_HD bool only_first() const {
    return output == SortOutput::matrix && first == 0 && last == 1;
  }
};

// Whether element b, which stands behind element a in the input, comes before it in the order.
template <class T>
TS_HD bool overtakes(T b, T a, bool descending) {
  return descending ? b > a : b < a;
}

// Few elements: rank = how many come before, by all n (n - 1) / 2 comparisons, no branches.
// y[j * L + l] is element j of lane l.
template <int L, class T, class Index>
TS_HD void rank_by_counting(const T* y, int n, bool descending, Index* rank) {
  for (int j = 0; j < n; ++j) {
    TS_LANES
    for (int l = 0; l < L; ++l) rank[j * L + l] = static_cast<Index>(j);
  }
  for (int a = 0; a < n; ++a) {
    for (int b = a + 1; b < n; ++b) {
      TS_LANES
      for (int l = 0; l < L; ++l) {
        const Index moves = overtakes(y[b * L + l], y[a * L + l], descending) ? 1 : 0;
        rank[a * L + l] += moves;
        rank[b * L + l] -= moves;
      }
    }
  }
}

// The element that comes first, of each lane.
template <int L, class T, class Index>
TS_HD void find_first(const T* y, int64_t n, bool descending, Index* index) {
  T best[L];
  TS_LANES
  for (int l = 0; l < L; ++l) {
    best[l] = y[l];
    index[l] = 0;
  }
  for (int64_t j = 1; j < n; ++j) {
    const Index candidate = static_cast<Index>(j);
    TS_LANES
    for (int l = 0; l < L; ++l) {
      const bool better = overtakes(y[j * L + l], best[l], descending);
      best[l] = better ? y[j * L + l] : best[l];
      index[l] = better ? candidate : index[l];
    }
  }
}

// Many elements: Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm
// 5.2.2M), a sorting network for any n. The comparators of one stage are independent.
struct Stage {
  int64_t p, r, d;
};

// Calls stage(p, r, d) for each stage: compare-exchange (i, i + d) for all i < n - d with
// (i & p) == r.
template <class F>
TS_HD void for_each_stage(int64_t n, F&& stage) {
  int64_t top = 1;
  while (2 * top < n) top *= 2;
  if (n < 2) return;
  for (int64_t p = top; p > 0; p /= 2) {
    int64_t q = top, r = 0, d = p;
    while (true) {
      stage(Stage{p, r, d});
      if (q == p) break;
      d = q - p;
      q /= 2;
      r = p;
    }
  }
}

// Whether (key a, index i), which stands lower, must be exchanged with (key b, index j). The index
// decides between equal keys, because a network is not stable. Also for vectors of them.
template <class T, class Index>
TS_HD auto out_of_order(T a, Index i, T b, Index j, bool descending) {
  return (descending ? b > a : b < a) | ((a == b) & (j < i));
}

}  // namespace torchsmooth
