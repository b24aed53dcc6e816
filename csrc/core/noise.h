// The noise of a smoothing: a sampler's words, turned into a law's (noise, score) pairs, scaled.
#pragma once

#include "laws.h"
#include "samplers.h"

namespace torchsmooth {

// Passed by value to every kernel.
template <class T>
struct Noise {
  Law law;
  Points points;
  const int64_t* seed;   // one element, on the device of the kernel: a graph can replay with another
  uint32_t num_samples;
  uint32_t n;            // size of the event
  const T* scale;        // scale[element * element_stride + j * dimension_stride]
  int64_t element_stride;
  int64_t dimension_stride;
  // Leave-one-pair-out: with h the score (or another weight of f) of a sample and h' that of its
  // mirror image, the weight becomes h + pair_weight (h + h'). 0: no pairs.
  T pair_weight;

  TS_HD T scale_at(int64_t element, int64_t j) const {
    return scale[element * element_stride + j * dimension_stride];
  }
};

// Which products of scores and noise are summed beside the scores: none, score_j noise_j - 1 (for
// a scale per dimension), or score_i noise_j - delta_ij (for a scale matrix).
enum class Moment : int32_t { none, diagonal, outer };

TS_HD int64_t moment_size(Moment moment, int64_t n) {
  return moment == Moment::none ? 0 : moment == Moment::diagonal ? n : n * n;
}

// What a sample's value is multiplied with: for the gradient in x the score, for the gradient in
// the scale score * noise - 1 (the -1 is the logarithmic derivative of the volume element).
template <class T>
struct Weights {
  T noise;
  T score;
  T scale;
};

template <class T, bool kPairs, class L>
TS_HD Weights<T> weights_from_word(L, uint32_t word, T pair_weight) {
  // Built twice from its parts: a copy of a Uniform would go through memory, and lanes with it.
  const T tail = uniform_from_word<T>(word).tail;
  const bool upper = uniform_from_word<T>(word).upper;
  const Draw<T> draw = L::draw(Uniform<T>{tail, upper});
  const T scale = fused(draw.score, draw.noise, T(-1));
  if constexpr (kPairs) {
    const Draw<T> mirror = L::draw(Uniform<T>{tail, !upper});
    const T mirror_scale = fused(mirror.score, mirror.noise, T(-1));
    return {draw.noise, fused(pair_weight, draw.score + mirror.score, draw.score),
            fused(pair_weight, scale + mirror_scale, scale)};
  } else {
    return {draw.noise, draw.score, scale};
  }
}

}  // namespace torchsmooth
