// Where the uniform numbers come from. The word of an element is a pure function of
// (seed, batch element, sample, dimension); samples are made by quads of four consecutive ones,
// because one evaluation of Philox gives four words.
//
// A new sampler is one struct, one line in TORCHSMOOTH_SAMPLERS, and a class in
// torchsmooth/samplers.py.
#pragma once

#include "permutation.h"

namespace torchsmooth {

// X(name): the name is the one that Python passes. "qmc" is centred, "rqmc" is randomised.
#define TORCHSMOOTH_SAMPLERS(X) \
  X(mc)                         \
  X(qmc_latin)                  \
  X(rqmc_latin)                 \
  X(qmc_cartesian)              \
  X(rqmc_cartesian)             \
  X(sobol)

enum class Sampler : int32_t {
#define X(name) name,
  TORCHSMOOTH_SAMPLERS(X)
#undef X
};

constexpr int kDirectionBits = 32;

struct Points {
  Sampler sampler;
  bool antithetic;             // samples come in mirror images, so there are half as many points
  uint32_t count;              // points: num_samples, or half of it
  uint32_t side;               // cartesian: the cells per dimension, count = side^n
  const uint32_t* directions;  // sobol: [n, kDirectionBits] direction numbers, bits reversed
};

// The first word whose u = (w + 1/2) / 2^32 is at or above cell / cells. Exact for up to 2^15
// cells, off by at most one word of 2^32 beyond.
TS_HD uint64_t cell_edge(uint32_t cell, uint32_t cells) {
  const uint64_t step = (uint64_t(1) << 63) / cells;
  return (cell * step + (uint64_t(1) << 30)) >> 31;
}

// The word at the place jitter / 2^32 within a cell.
TS_HD uint32_t word_in_cell(uint32_t cell, uint32_t cells, uint32_t jitter) {
  if (cells == 1) return jitter;
  const uint64_t low = cell_edge(cell, cells), high = cell_edge(cell + 1, cells);
  return static_cast<uint32_t>(low) + mulhi(jitter, static_cast<uint32_t>(high - low));
}

TS_HD uint32_t reverse_bits(uint32_t x) {
  x = ((x >> 1) & 0x55555555u) | ((x & 0x55555555u) << 1);
  x = ((x >> 2) & 0x33333333u) | ((x & 0x33333333u) << 2);
  x = ((x >> 4) & 0x0F0F0F0Fu) | ((x & 0x0F0F0F0Fu) << 4);
  x = ((x >> 8) & 0x00FF00FFu) | ((x & 0x00FF00FFu) << 8);
  return (x >> 16) | (x << 16);
}

// Nested uniform scrambling (Owen, "Randomly permuted (t, m, s)-nets and (t, s)-sequences", 1995)
// of reversed bits: every bit is flipped by a coin that depends on the bits below it alone, which
// in reversed order are the bits above it. The seven coins of the first three bits are bits of the
// key, so that their law is exact. For the bits after them there is a hash whose steps map a bit by
// a function of the bits below it (Laine and Karras, "Stratified sampling for stochastic
// transparency", 2011), with an addend of its own for each of the eight octants: alone, such
// hashes reach 96 of the 128 scrambles of three bits. The key words are Philox's, so that
// dimensions and elements are independent.
template <class V>
struct Octant {
  V scrambled;  // its three bits
  V addend;     // to the bits after them
};

// V: a word, or a vector of them.
template <class V>
TS_HD Octant<V> scramble_octant(V octant, const Key& key) {
  const V coins = V{} + key.k[0];
  const V flips = ((coins >> 1) & 1u) | (((coins >> (2u | (octant & 1u))) & 1u) << 1) |
                  (((coins >> (4u | (octant & 3u))) & 1u) << 2);
  V addend = (octant ^ key.k[1]) * 0x9E3779B1u;
  addend = (addend ^ (addend >> 15)) * 0x846CA68Bu;
  return {octant ^ flips, addend ^ (addend >> 16)};
}
template <class V>
TS_HD V scramble_reversed(V x, const Octant<V>& octant, const Key& key) {
  V y = x + octant.addend;
  y *= key.k[2] | 1u;
  y ^= y * (key.k[3] & ~1u);
  y += key.k[0];
  y ^= y * (key.k[1] & ~1u);
  return (y & ~7u) | octant.scrambled;
}

#if defined(TORCHSMOOTH_AVX2) && !defined(__CUDACC__)
// In each lane, the entry of the table at the lane's last three bits.
TS_HD Words8 look_up(Words8 table, Words8 x) {
  return (Words8)_mm256_permutevar8x32_epi32((__m256i)table, (__m256i)x);
}

TS_HD Words8 reverse_bits(Words8 x) {
  // Bytes by a shuffle, and in them half a byte at a time by tables.
  const __m256i bytes = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
  const __m256i reversed = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15));
  const __m256i low = _mm256_set1_epi8(15), y = _mm256_shuffle_epi8((__m256i)x, bytes);
  const __m256i upper_half = _mm256_and_si256(_mm256_srli_epi16(y, 4), low);
  const __m256i lower_half = _mm256_and_si256(y, low);
  return (Words8)_mm256_or_si256(
      _mm256_slli_epi16(_mm256_shuffle_epi8(reversed, lower_half), 4),
      _mm256_shuffle_epi8(reversed, upper_half));
}
#endif

// The words of one dimension, as the only row of those of several.
template <int N>
TS_HD uint32_t (&as_row(uint32_t (&words)[N]))[1][N] {
  return reinterpret_cast<uint32_t (&)[1][N]>(words);
}

struct MonteCarlo {
  // Of D dimensions, from `dimension` on.
  template <int L, int D>
  static TS_HD void words(int64_t seed, uint32_t element, uint32_t dimension,
                          const uint32_t (&quad)[L], uint32_t (&out)[D][4 * L]) {
    philox<L, D>(seed, quad, dimension, element, Stream::points, out);
  }
  template <int L>
  static TS_HD void words(const Points&, int64_t seed, uint32_t element, uint32_t dimension,
                          const uint32_t (&quad)[L], uint32_t (&out)[4 * L]) {
    words<L, 1>(seed, element, dimension, quad, as_row(out));
  }
};

template <bool randomized>
struct LatinHypercube {
  template <int L>
  static TS_HD void words(const Points& points, int64_t seed, uint32_t element, uint32_t dimension,
                          const uint32_t (&quad)[L], uint32_t (&out)[4 * L]) {
    uint32_t cell[4 * L];
    const uint32_t last = points.count - 1;
    TS_LANES
    for (int i = 0; i < 4 * L; ++i) {
      const uint32_t point = 4 * quad[i % L] + i / L;
      cell[i] = point < last ? point : last;  // lanes past the end compute, but are not used
    }
    permute(philox_key(seed, dimension, element, Stream::permutation), points.count, cell);
    place<L>(cell, points.count, seed, element, dimension, quad, out);
  }

  // Words inside the given cells.
  template <int L>
  static TS_HD void place(const uint32_t (&cell)[4 * L], uint32_t cells, int64_t seed,
                          uint32_t element, uint32_t dimension, const uint32_t (&quad)[L],
                          uint32_t (&out)[4 * L]) {
    if (randomized) {
      philox<L, 1>(seed, quad, dimension, element, Stream::jitter, as_row(out));
    } else {
      for (int i = 0; i < 4 * L; ++i) out[i] = 0x80000000u;
    }
    TS_LANES
    for (int i = 0; i < 4 * L; ++i) out[i] = word_in_cell(cell[i], cells, out[i]);
  }
};

template <bool randomized>
struct Cartesian {
  template <int L>
  static TS_HD void words(const Points& points, int64_t seed, uint32_t element, uint32_t dimension,
                          const uint32_t (&quad)[L], uint32_t (&out)[4 * L]) {
    // The dimension's digit of the point's index, in base side.
    uint64_t stride = 1;
    for (uint32_t j = 0; j < dimension && stride < points.count; ++j) stride *= points.side;
    // Quotients by reciprocals: (a + 1/2) / b is at least 1 / 2b away from any integer, far more
    // than a double's rounding, so that truncation is exact.
    const double per_stride = 1.0 / static_cast<double>(stride), per_side = 1.0 / points.side;
    uint32_t cell[4 * L];
    TS_LANES
    for (int i = 0; i < 4 * L; ++i) {
      const int32_t point = static_cast<int32_t>(4 * quad[i % L] + i / L);
      const int32_t quotient = static_cast<int32_t>((point + 0.5) * per_stride);
      const int32_t carried = static_cast<int32_t>((quotient + 0.5) * per_side);
      cell[i] = static_cast<uint32_t>(quotient - carried * static_cast<int32_t>(points.side));
    }
    LatinHypercube<randomized>::template place<L>(cell, points.side, seed, element, dimension,
                                                  quad, out);
  }
};

// Sobol, "Distribution of points in a cube and approximate evaluation of integrals", 1967.
struct Sobol {
  template <int L>
  static TS_HD void words(const Points& points, int64_t seed, uint32_t element, uint32_t dimension,
                          const uint32_t (&quad)[L], uint32_t (&out)[4 * L]) {
    const uint32_t* direction =
        points.directions + static_cast<uint64_t>(dimension) * kDirectionBits;
    const uint32_t last = points.count - 1;
    const Key key = philox_key(seed, dimension, element, Stream::scramble);
#if defined(TORCHSMOOTH_AVX2) && !defined(__CUDACC__)
    if constexpr (L % 8 == 0) {
      // What a scramble takes from the octant is computed once for all eight, a lane each.
      const Octant<Words8> octants = scramble_octant(Words8{0, 1, 2, 3, 4, 5, 6, 7}, key);
      for (int l = 0; l < L; l += 8) {
        Words8 quads, base{};
        memcpy(&quads, quad + l, sizeof(Words8));
        for (int bit = 2; bit < kDirectionBits && last >> bit; ++bit)
          base ^= (0u - ((quads >> (bit - 2)) & 1u)) & direction[bit];
        for (int c = 0; c < 4; ++c) {
          const Words8 x = base ^ low_bits(direction, c);
          const Octant<Words8> octant{look_up(octants.scrambled, x), look_up(octants.addend, x)};
          const Words8 word = reverse_bits(scramble_reversed(x, octant, key));
          memcpy(out + c * L + l, &word, sizeof(Words8));
        }
      }
      return;
    }
#endif
    uint32_t base[L] = {};
    for (int bit = 2; bit < kDirectionBits && last >> bit; ++bit) {
      const uint32_t d = direction[bit];
      TS_LANES
      for (int l = 0; l < L; ++l) base[l] ^= (0u - ((quad[l] >> (bit - 2)) & 1u)) & d;
    }
    for (int c = 0; c < 4; ++c) {
      const uint32_t low = low_bits(direction, c);
      TS_LANES
      for (int l = 0; l < L; ++l) {
        const uint32_t x = base[l] ^ low;
        out[c * L + l] = reverse_bits(scramble_reversed(x, scramble_octant(x & 7u, key), key));
      }
    }
  }

 private:
  static TS_HD uint32_t low_bits(const uint32_t* direction, int c) {
    return (c & 1 ? direction[0] : 0u) ^ (c & 2 ? direction[1] : 0u);
  }
};

template <int L>
TS_HD void point_words(const Points& points, int64_t seed, uint32_t element, uint32_t dimension,
                       const uint32_t (&quad)[L], uint32_t (&out)[4 * L]) {
  switch (points.sampler) {
    case Sampler::mc:
      return MonteCarlo::words<L>(points, seed, element, dimension, quad, out);
    case Sampler::qmc_latin:
      return LatinHypercube<false>::words<L>(points, seed, element, dimension, quad, out);
    case Sampler::rqmc_latin:
      return LatinHypercube<true>::words<L>(points, seed, element, dimension, quad, out);
    case Sampler::qmc_cartesian:
      return Cartesian<false>::words<L>(points, seed, element, dimension, quad, out);
    case Sampler::rqmc_cartesian:
      return Cartesian<true>::words<L>(points, seed, element, dimension, quad, out);
    case Sampler::sobol:
      return Sobol::words<L>(points, seed, element, dimension, quad, out);
  }
}

// The points of L consecutive quads of samples, from first_quad on. Antithetic samples 2p and 2p + 1
// are point p and its mirror image, so that a quad of points makes two quads of samples.
template <int L>
TS_HD void point_quads(bool antithetic, uint32_t first_quad, uint32_t (&quad)[L]) {
  TS_LANES
  for (int l = 0; l < L; ++l) quad[l] = (first_quad + l) >> (antithetic ? 1 : 0);
}
// Makes the words of those points those of the antithetic samples.
template <int L>
TS_HD void mirror_points(uint32_t first_quad, uint32_t (&word)[4 * L]) {
  TS_LANES
  for (int l = 0; l < L; ++l) {
    const bool odd = ((first_quad + l) & 1) != 0;
    const uint32_t even_point = odd ? word[2 * L + l] : word[l];
    const uint32_t odd_point = odd ? word[3 * L + l] : word[L + l];
    word[l] = even_point;
    word[L + l] = ~even_point;
    word[2 * L + l] = odd_point;
    word[3 * L + l] = ~odd_point;
  }
}

// The words of the samples of L consecutive quads, from first_quad on: out[c * L + l] belongs to
// sample 4 (first_quad + l) + c.
template <int L>
TS_HD void sample_words(const Points& points, int64_t seed, uint32_t element, uint32_t dimension,
                        uint32_t first_quad, uint32_t (&out)[4 * L]) {
  uint32_t quad[L];
  point_quads<L>(points.antithetic, first_quad, quad);
  point_words<L>(points, seed, element, dimension, quad, out);
  if (points.antithetic) mirror_points<L>(first_quad, out);
}

// Plain Monte Carlo's, of D dimensions from `dimension` on. Alone, the other samplers are bound by
// what they compute, and Philox by waiting.
template <int L, int D>
TS_HD void monte_carlo_words(bool antithetic, int64_t seed, uint32_t element, uint32_t dimension,
                             uint32_t first_quad, uint32_t (&out)[D][4 * L]) {
  uint32_t quad[L];
  point_quads<L>(antithetic, first_quad, quad);
  MonteCarlo::words<L, D>(seed, element, dimension, quad, out);
  if (!antithetic) return;
  for (int d = 0; d < D; ++d) mirror_points<L>(first_quad, out[d]);
}

}  // namespace torchsmooth
