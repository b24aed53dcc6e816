// Blocks of kBlock samples: what every kernel starts with.
#pragma once

#include "../kernels.h"
#include "vector.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Partial sums are kept in T and added to doubles after so many blocks: no sum grows so long that
// it loses digits, and doubles cost nothing.
constexpr int64_t kFlushBlocks = kFlushed / kBlock;

// Which sample has slot t of the block that starts at first_quad: quads lie across the slots, so
// that a vector has one sample of each.
TS_HD int64_t block_sample(int64_t first_quad, int slot) {
  return 4 * (first_quad + slot % kQuads) + slot / kQuads;
}

// Whether all slots of a block are samples of the range, which begins with a block.
TS_HD bool is_whole(int64_t first_quad, Range range) {
  return 4 * first_quad + kBlock <= range.end;
}

// Calls block(first_quad) for every block that meets the samples of the range.
template <class F>
TS_HD void for_each_block(Range range, F&& block) {
  for (int64_t first = range.begin / kBlock * kBlock; first < range.end; first += kBlock)
    block(first / 4);
}

// Dimensions whose words are drawn together, see monte_carlo_words. Where multiplying vectors of
// words is not an instruction, that wins nothing.
#if defined(TORCHSMOOTH_AVX2)
constexpr int kTogether = 5;
#else
constexpr int kTogether = 1;
#endif

// The words and the weights of a block are functions, not inlined: every law and every sampler is
// compiled once per type.
__attribute__((noinline)) static void block_words(const Points& points, int64_t seed,
                                                  int64_t element, int64_t j, int64_t first_quad,
                                                  uint32_t (&word)[kBlock]) {
  sample_words<kQuads>(points, seed, static_cast<uint32_t>(element), static_cast<uint32_t>(j),
                       static_cast<uint32_t>(first_quad), word);
}

template <int D>
__attribute__((noinline)) static void words_together(bool antithetic, int64_t seed,
                                                     int64_t element, int64_t j,
                                                     int64_t first_quad,
                                                     uint32_t (&word)[D][kBlock]) {
  monte_carlo_words<kQuads, D>(antithetic, seed, static_cast<uint32_t>(element),
                               static_cast<uint32_t>(j), static_cast<uint32_t>(first_quad), word);
}

// Of `count` dimensions, at most D.
template <int D>
TS_HD void words_together(int64_t count, bool antithetic, int64_t seed, int64_t element, int64_t j,
                          int64_t first_quad, uint32_t (*word)[kBlock]) {
  if (count == D) {
    words_together<D>(antithetic, seed, element, j, first_quad,
                      *reinterpret_cast<uint32_t (*)[D][kBlock]>(word));
  } else if constexpr (D > 1) {
    words_together<D - 1>(count, antithetic, seed, element, j, first_quad, word);
  }
}

// Calls visit(j, word) with the words of dimensions j = 0 ... n - 1 of a block.
template <class F>
TS_HD void for_each_dimension(const Points& points, int64_t seed, int64_t n, int64_t element,
                              int64_t first_quad, F&& visit) {
  uint32_t word[kTogether][kBlock];
  // Groups of about equal size: one dimension alone costs as much as two together.
  for (int64_t first = 0, groups = (n + kTogether - 1) / kTogether; first < n; --groups) {
    const int64_t count = (n - first + groups - 1) / groups;
    if (points.sampler == Sampler::mc) {
      words_together<kTogether>(count, points.antithetic, seed, element, first, first_quad, word);
    } else {
      for (int64_t d = 0; d < count; ++d)
        block_words(points, seed, element, first + d, first_quad, word[d]);
    }
    for (int64_t d = 0; d < count; ++d) visit(first + d, word[d]);
    first += count;
  }
}

template <bool kPairs, class T>
__attribute__((noinline)) static void block_weights(const Noise<T>& noise,
                                                   const uint32_t (&word)[kBlock], T* epsilon,
                                                   T* score, T* scale) {
  const T pair_weight = noise.pair_weight;  // what is written in the loop could be the noise's own
  with_law(noise.law, [&](auto law) __attribute__((always_inline)) {
    TS_LANES
    for (int t = 0; t < kBlock; ++t) {
      const Weights<T> w = weights_from_word<T, kPairs>(law, word[t], pair_weight);
      epsilon[t] = w.noise;
      score[t] = w.score;
      scale[t] = w.scale;
    }
  });
}

// Of the words of one block and dimension: the noise, and the weights of f that go with it.
template <class T>
TS_HD void word_weights(const Noise<T>& noise, const uint32_t (&word)[kBlock], T* epsilon, T* score,
                        T* scale) {
  if (noise.pair_weight == T(0)) {
    block_weights<false, T>(noise, word, epsilon, score, scale);
  } else {
    block_weights<true, T>(noise, word, epsilon, score, scale);
  }
}

// Sums over the samples of many blocks, kept in kQuads parts and flushed into wider sums.
template <class T, class Sum>
struct BlockSums {
  int64_t size;
  T* partial;  // [size, kQuads]
  Sum* sums;
  int64_t blocks = 0;

  TS_HD BlockSums(int64_t size, T* partial, Sum* sums) : size(size), partial(partial), sums(sums) {
    for (int64_t k = 0; k < size * kQuads; ++k) partial[k] = T(0);
  }

  TS_HD Vector<T>& at(int64_t k) { return vector_at(partial + k * kQuads); }

  TS_HD void add(int64_t k, const T* a) {
    Vector<T> sum = at(k);
    for (int t = 0; t < kBlock; t += kQuads) sum += vector_at(a + t);
    at(k) = sum;
  }
  // Adds the sum of a[t] * b[t].
  TS_HD void add_product(int64_t k, const T* a, const T* b) {
    T* const sum = partial + k * kQuads;
    T part[kQuads];
    for (int l = 0; l < kQuads; ++l) part[l] = sum[l];
    for (int c = 0; c < kBlock; c += kQuads) {
      for (int l = 0; l < kQuads; ++l) part[l] = fused(a[c + l], b[c + l], part[l]);
    }
    for (int l = 0; l < kQuads; ++l) sum[l] = part[l];
  }
  // Adds the sum of a[t] where the masks are set.
  TS_HD void add_where(int64_t k, const Mask<T> (&masks)[kBlock / kQuads], const T* a) {
    static_assert(kBlock == 4 * kQuads);
    const auto part = [&](int c) __attribute__((always_inline)) {
      return where<T>(masks[c], vector_at(a + c * kQuads));
    };
    at(k) += (part(0) + part(1)) + (part(2) + part(3));
  }
  TS_HD void end_block() {
    if (++blocks % kFlushBlocks == 0) flush();
  }
  TS_HD void flush() {
    for (int64_t k = 0; k < size; ++k) {
      T* const sum = partial + k * kQuads;
      for (int l = 0; l < kQuads; ++l) {
        sums[k] += static_cast<Sum>(sum[l]);
        sum[l] = T(0);
      }
    }
  }
};

}  // namespace torchsmooth::TORCHSMOOTH_ISA
