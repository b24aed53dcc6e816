// From an op's arguments to the structs of core/: parsing, and the second line of defence behind
// the checks in Python. Everything here is about shapes and names; values are never read, since
// they may live on a device.
#pragma once

#include <cmath>

#include "../core/evaluate.h"
#include "../core/noise.h"
#include "../stable.h"

namespace torchsmooth {

inline Law parse_law(const std::string& name) {
#define X(type, law) \
  if (name == #law) return Law::law;
  TORCHSMOOTH_LAWS(X)
#undef X
  STD_TORCH_CHECK(false, "law: no kernel for '", name, "'");
}

inline Sampler parse_sampler(const std::string& name) {
#define X(sampler) \
  if (name == #sampler) return Sampler::sampler;
  TORCHSMOOTH_SAMPLERS(X)
#undef X
  STD_TORCH_CHECK(false, "sampler: no kernel for '", name, "'");
}

// The value of an enumeration whose member has this name.
template <class E>
struct Named {
  const char* name;
  E value;
};
template <class E, std::size_t N>
E parse_named(const Named<E> (&table)[N], const char* argument, const std::string& name) {
  for (const Named<E>& entry : table) {
    if (name == entry.name) return entry.value;
  }
  STD_TORCH_CHECK(false, argument, ": no such value: '", name, "'");
}

// What is subtracted from f before it is multiplied with the weights.
enum class Baseline : int32_t { none, fx, mean };
inline Baseline parse_baseline(const std::string& name) {
  constexpr Named<Baseline> table[] = {
      {"none", Baseline::none}, {"fx", Baseline::fx}, {"mean", Baseline::mean}};
  return parse_named(table, "baseline", name);
}

enum class Jacobian : int32_t { none, x, x_and_scale };
inline Jacobian parse_jacobian(const std::string& name) {
  constexpr Named<Jacobian> table[] = {
      {"none", Jacobian::none}, {"x", Jacobian::x}, {"x_and_scale", Jacobian::x_and_scale}};
  return parse_named(table, "jacobian", name);
}

inline Moment parse_moment(const std::string& name) {
  constexpr Named<Moment> table[] = {
      {"none", Moment::none}, {"diagonal", Moment::diagonal}, {"outer", Moment::outer}};
  return parse_named(table, "moment", name);
}

inline Function parse_function(const std::string& name) {
  constexpr Named<Function> table[] = {{"icdf", Function::icdf},
                                       {"cdf", Function::cdf},
                                       {"log_prob", Function::log_prob},
                                       {"score", Function::score}};
  return parse_named(table, "function", name);
}

constexpr int64_t kMostSamples = int64_t(1) << 30;

inline void check_matrix(const Tensor& t, const char* name, int64_t rows, int64_t columns) {
  STD_TORCH_CHECK(t.dim() == 2 && t.size(0) == rows && t.size(1) == columns && t.is_contiguous(),
                  name, " must be contiguous of shape [", rows, ", ", columns, "], got ", t.dim(),
                  " dimensions and ", t.numel(), " elements");
}

inline void check_num_samples(int64_t num_samples) {
  STD_TORCH_CHECK(num_samples > 0 && num_samples <= kMostSamples,
                  "num_samples must be in [1, 2^30], got ", num_samples);
}

// Batch elements and dimensions are numbered by 32 bits: more would repeat the noise of the first.
constexpr int64_t kMostElements = int64_t(1) << 32;

inline void check_sizes(int64_t elements, int64_t n) {
  STD_TORCH_CHECK(0 <= elements && elements <= kMostElements && 0 <= n && n < kMostElements,
                  "at most 2^32 batch elements and 2^32 - 1 dimensions, got ", elements, " and ", n);
}

// The rows [start, stop) of a chunk. To be called before anything is computed from them: in this
// order nothing overflows.
inline void check_rows(const char* op, int64_t start, int64_t stop, int64_t elements, int64_t n,
                       int64_t num_samples) {
  check_num_samples(num_samples);
  check_sizes(elements, n);
  STD_TORCH_CHECK(0 <= start && start <= stop && stop <= elements * num_samples, op,
                  ": needs 0 <= start <= stop <= B * num_samples, got [", start, ", ", stop, ")");
}

inline Points make_points(const Tensor& directions, const std::string& sampler, bool antithetic,
                          int64_t num_samples, int64_t n) {
  check_num_samples(num_samples);
  STD_TORCH_CHECK(!antithetic || num_samples % 2 == 0,
                  "num_samples must be even if antithetic, got ", num_samples);
  Points points{parse_sampler(sampler), antithetic,
                static_cast<uint32_t>(antithetic ? num_samples / 2 : num_samples), 1, nullptr};
  if (points.sampler == Sampler::sobol) {
    STD_TORCH_CHECK(directions.dim() == 2 && directions.size(0) >= n &&
                        directions.size(1) == kDirectionBits && directions.is_contiguous() &&
                        directions.scalar_type() == ScalarType::Int,
                    "directions must be contiguous int32 of shape [>= ", n, ", ", kDirectionBits,
                    "] for the sobol sampler");
    points.directions = data<uint32_t>(directions);
  }
  if (points.sampler == Sampler::qmc_cartesian || points.sampler == Sampler::rqmc_cartesian) {
    const auto power = [n](uint64_t side) {
      uint64_t product = 1;
      for (int64_t j = 0; j < n && side > 1 && product <= (uint64_t(1) << 32); ++j)
        product *= side;
      return product;
    };
    // Where there is an exact root, the rounded one is it.
    if (n > 0) points.side = static_cast<uint32_t>(std::lround(std::pow(points.count, 1.0 / n)));
    STD_TORCH_CHECK(n == 0 || power(points.side) == points.count,
                    "num_samples: the cartesian sampler needs k^", n, " points, got ",
                    points.count);
  }
  return points;
}

// Refuses sums per batch element, (n + moments) * (m + 1), that no integer counts.
inline void check_sums(const char* op, Moment moment, int64_t n, int64_t m) {
  constexpr int64_t most = int64_t(1) << 62;
  const int64_t each = moment == Moment::none ? 1 : moment == Moment::diagonal ? 2 : n + 1;
  STD_TORCH_CHECK(m < most && (n == 0 || each <= most / n / (m + 1)), op,
                  ": too many sums for n = ", n, " and M = ", m);
}

template <class T>
Noise<T> make_noise(const Tensor& scale, const Tensor& seed, const Tensor& directions,
                    const std::string& law, const std::string& sampler, bool antithetic,
                    int64_t num_samples, double pair_weight, int64_t elements, int64_t n) {
  STD_TORCH_CHECK(seed.numel() == 1 && seed.scalar_type() == ScalarType::Long,
                  "seed must be an int64 tensor of one element");
  check_sizes(elements, n);
  STD_TORCH_CHECK(scale.dim() == 2 && (scale.size(0) == 1 || scale.size(0) == elements) &&
                      (scale.size(1) == 1 || scale.size(1) == n) && scale.is_contiguous(),
                  "scale must be contiguous of shape [1 or ", elements, ", 1 or ", n, "]");
  return Noise<T>{parse_law(law),
                  make_points(directions, sampler, antithetic, num_samples, n),
                  data<int64_t>(seed),
                  static_cast<uint32_t>(num_samples),
                  static_cast<uint32_t>(n),
                  data<T>(scale),
                  scale.size(0) == 1 ? 0 : scale.size(1),
                  scale.size(1) == 1 ? 0 : 1,
                  static_cast<T>(pair_weight)};
}

}  // namespace torchsmooth
