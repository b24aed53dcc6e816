#pragma once

#include "../../core/functions/sort.h"
#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Integers as wide as the keys, so that a lane holds both.
template <class T>
struct IndexOf;
template <>
struct IndexOf<float> {
  using type = int32_t;
};
template <>
struct IndexOf<double> {
  using type = int64_t;
};

// Up to here, comparing all pairs takes fewer instructions than the sorting network.
constexpr int64_t kCountingLimit = 24;

// Sorts the lanes of a block. index holds, if n <= kCountingLimit, the rank of each element, else
// the element of each rank; y is overwritten in the second case.
template <class T, class Index>
TS_HD void sort_block(int64_t n, bool descending, T* y, Index* index) {
  if (n <= kCountingLimit) {
    rank_by_counting<kLanes>(y, static_cast<int>(n), descending, index);
    return;
  }
  for (int64_t j = 0; j < n; ++j) {
    for (int t = 0; t < kLanes; ++t) index[j * kLanes + t] = static_cast<Index>(j);
  }
  for_each_stage(n, [&](Stage stage) __attribute__((always_inline)) {
    for (int64_t i = 0; i + stage.d < n; ++i) {
      if ((i & stage.p) != stage.r) continue;
      T* ya = y + i * kLanes;
      T* yb = y + (i + stage.d) * kLanes;
      Index* ia = index + i * kLanes;
      Index* ib = index + (i + stage.d) * kLanes;
      TS_LANES
      for (int t = 0; t < kLanes; ++t) {
        const T a = ya[t], b = yb[t];
        const Index p = ia[t], q = ib[t];
        const bool exchange = out_of_order(a, p, b, q, descending);
        ya[t] = exchange ? b : a;
        yb[t] = exchange ? a : b;
        ia[t] = exchange ? q : p;
        ib[t] = exchange ? p : q;
      }
    }
  });
}

// Perturbs and sorts one block; scratch holds [n, kLanes] each of y, index, score, scale weights.
template <class T>
struct SortedBlock {
  using Index = typename IndexOf<T>::type;

  int64_t n;
  T* y;
  Index* index;
  T* score;
  T* scale;
  T* rest;  // scratch that is left

  TS_HD SortedBlock(int64_t n, T* scratch)
      : n(n),
        y(scratch),
        index(reinterpret_cast<Index*>(scratch + n * kLanes)),
        score(scratch + 2 * n * kLanes),
        scale(scratch + 3 * n * kLanes),
        rest(scratch + 4 * n * kLanes) {}

  TS_HD void fill(const Noise<T>& noise, int64_t element, int64_t first_quad, bool descending,
                  const T* x) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = j * kLanes;
      block_weights<T>(noise, element, j, first_quad, y + row, score + row, scale + row);
      const T s = noise.scale_at(element, j), center = x[j];
      for (int t = 0; t < kLanes; ++t) y[row + t] = fused(s, y[row + t], center);
    }
    sort_block(n, descending, y, index);
  }

  // Entry a of the permutation matrix of lane t, a = 0 ... n - 1, as an index into [rank, element].
  TS_HD int64_t cell(int64_t a, int t) const {
    const int64_t other = index[a * kLanes + t];
    return n <= kCountingLimit ? other * n + a : a * n + other;
  }
};

template <class T>
void argsort(const Noise<T>& noise, Range range, bool descending, const T* x, uint32_t* counts,
             T* scratch) {
  SortedBlock<T> block(noise.n, scratch);
  for_each_block(range, [&](int64_t first_quad) {
    block.fill(noise, range.element, first_quad, descending, x);
    for (int t = 0; t < kLanes; ++t) {
      if (lane_sample(first_quad, t) >= range.end) continue;
      for (int64_t a = 0; a < block.n; ++a) ++counts[block.cell(a, t)];
    }
  });
}

// width is a template argument where it is small, so that a row's addition unrolls; 0: runtime.
template <int kWidth, class T>
TS_HD void jacobian_blocks(const Noise<T>& noise, Range range, bool descending, bool with_scale,
                           const T* x, double* table, T* scratch) {
  const int64_t n = noise.n;
  const int64_t width = kWidth ? kWidth : jacobian_width(n, with_scale);
  SortedBlock<T> block(n, scratch);
  T* rows = block.rest;               // [kLanes, width]
  T* partial = rows + kLanes * width; // [2, n, n, width]: even and odd samples, so that one
                                      // addition need not wait for the one before
  const int64_t size = n * n * width;
  for (int64_t k = 0; k < 2 * size; ++k) partial[k] = T(0);
  for (int64_t k = 0; k < kLanes * width; ++k) rows[k] = T(0);
  for (int t = 0; t < kLanes; ++t) rows[t * width + n] = T(1);
  const auto flush = [&] {
    for (int64_t k = 0; k < size; ++k) {
      table[k] += static_cast<double>(partial[k]) + static_cast<double>(partial[size + k]);
      partial[k] = partial[size + k] = T(0);
    }
  };
  int64_t blocks = 0;
  for_each_block(range, [&](int64_t first_quad) {
    block.fill(noise, range.element, first_quad, descending, x);
    for (int64_t j = 0; j < n; ++j) {
      for (int t = 0; t < kLanes; ++t) rows[t * width + j] = block.score[j * kLanes + t];
      if (with_scale) {
        for (int t = 0; t < kLanes; ++t) rows[t * width + n + 1 + j] = block.scale[j * kLanes + t];
      }
    }
    for (int t = 0; t < kLanes; ++t) {
      if (lane_sample(first_quad, t) >= range.end) continue;
      const T* row = rows + t * width;
      T* const half = partial + (t & 1) * size;
      for (int64_t a = 0; a < n; ++a) {
        T* sum = half + block.cell(a, t) * width;
        TS_LANES
        for (int64_t c = 0; c < width; ++c) sum[c] += row[c];
      }
    }
    if (++blocks % kFlushBlocks == 0) flush();
  });
  flush();
}

template <class T>
void argsort_jacobian(const Noise<T>& noise, Range range, bool descending, bool scale, const T* x,
                      double* table, T* scratch) {
  const int64_t width = jacobian_width(noise.n, scale);
  if (width == 8) {
    jacobian_blocks<8>(noise, range, descending, scale, x, table, scratch);
  } else if (width == 16) {
    jacobian_blocks<16>(noise, range, descending, scale, x, table, scratch);
  } else {
    jacobian_blocks<0>(noise, range, descending, scale, x, table, scratch);
  }
}

template <class T>
void argsort_backward(const Noise<T>& noise, Range range, bool descending, bool with_scale,
                      const T* x, const T* grad, T baseline, double* sums, T* scratch) {
  const int64_t n = noise.n, weights = with_scale ? 2 * n : n;
  SortedBlock<T> block(n, scratch);
  T* partial = block.rest;  // [weights]
  for (int64_t k = 0; k < weights; ++k) partial[k] = T(0);
  const auto flush = [&] {
    for (int64_t k = 0; k < weights; ++k) {
      sums[k] += partial[k];
      partial[k] = T(0);
    }
  };
  int64_t blocks = 0;
  for_each_block(range, [&](int64_t first_quad) {
    block.fill(noise, range.element, first_quad, descending, x);
    T g[kLanes] = {};
    if (n <= 8) {
      // A row of grad is so short that selecting beats gathering.
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t k = 0; k < n; ++k) {
          const T value = grad[k * n + i];
          const auto rank = static_cast<typename SortedBlock<T>::Index>(k);
          TS_LANES
          for (int t = 0; t < kLanes; ++t)
            g[t] += block.index[i * kLanes + t] == rank ? value : T(0);
        }
      }
    } else {
      for (int64_t a = 0; a < n; ++a) {
        for (int t = 0; t < kLanes; ++t) g[t] += grad[block.cell(a, t)];
      }
    }
    for (int t = 0; t < kLanes; ++t)
      g[t] = lane_sample(first_quad, t) < range.end ? g[t] - baseline : T(0);
    for (int64_t j = 0; j < n; ++j) {
      partial[j] += lane_dot(g, block.score + j * kLanes);
      if (with_scale) partial[n + j] += lane_dot(g, block.scale + j * kLanes);
    }
    if (++blocks % kFlushBlocks == 0) flush();
  });
  flush();
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
