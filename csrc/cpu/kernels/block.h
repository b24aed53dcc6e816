// Blocks of kLanes samples: what every kernel starts with.
#pragma once

#include "../kernels.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Partial sums are kept in T and added to doubles after so many blocks: no sum grows so long that
// it loses digits, and doubles cost nothing.
constexpr int64_t kFlushBlocks = 128;

// Lane t of the block that starts at first_quad is this sample.
TS_HD int64_t lane_sample(int64_t first_quad, int lane) {
  return 4 * (first_quad + lane % kQuads) + lane / kQuads;
}

// Whether all lanes of a block are samples of the range, which begins with a block.
TS_HD bool is_whole(int64_t first_quad, Range range) {
  return 4 * first_quad + kLanes <= range.end;
}

// Calls block(first_quad) for every block that meets the samples of the range.
template <class F>
TS_HD void for_each_block(Range range, F&& block) {
  for (int64_t first = range.begin / kLanes * kLanes; first < range.end; first += kLanes)
    block(first / 4);
}

// The words and the weights of a block are functions, not inlined: every law and every sampler is
// compiled once per type.
__attribute__((noinline)) static void block_words(const Points& points, int64_t seed,
                                                  int64_t element, int64_t j, int64_t first_quad,
                                                  uint32_t (&word)[kLanes]) {
  sample_words<kQuads>(points, seed, static_cast<uint32_t>(element), static_cast<uint32_t>(j),
                       static_cast<uint32_t>(first_quad), word);
}

template <bool kPairs, class T>
TS_HD void lane_weights(const Noise<T>& noise, const uint32_t (&word)[kLanes], T* epsilon, T* score,
                        T* scale) {
  with_law(noise.law, [&](auto law) __attribute__((always_inline)) {
    TS_LANES
    for (int t = 0; t < kLanes; ++t) {
      const Weights<T> w = weights_from_word<T, kPairs>(law, word[t], noise.pair_weight);
      epsilon[t] = w.noise;
      score[t] = w.score;
      scale[t] = w.scale;
    }
  });
}

// Of one block and dimension: the noise, and the weights of f that go with it.
template <class T>
__attribute__((noinline)) static void block_weights(const Noise<T>& noise, int64_t element,
                                                    int64_t j, int64_t first_quad, T* epsilon,
                                                    T* score, T* scale) {
  uint32_t word[kLanes];
  block_words(noise.points, *noise.seed, element, j, first_quad, word);
  if (noise.pair_weight == T(0)) {
    lane_weights<false>(noise, word, epsilon, score, scale);
  } else {
    lane_weights<true>(noise, word, epsilon, score, scale);
  }
}

// Sum of a[t] * b[t] over the lanes, in an order that vector units like.
template <class T>
TS_HD T lane_dot(const T* a, const T* b) {
  T part[kQuads] = {};
  for (int c = 0; c < kLanes; c += kQuads) {
    for (int l = 0; l < kQuads; ++l) part[l] = fused(a[c + l], b[c + l], part[l]);
  }
  for (int width = kQuads / 2; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) part[l] += part[l + width];
  }
  return part[0];
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
