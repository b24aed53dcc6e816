// Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011. The output is a pure function of key and counter, so
// that a random number belongs to an element of the problem and not to a thread.
#pragma once

#include <string.h>

#include <utility>

#include "macros.h"

#if defined(TORCHSMOOTH_AVX2) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

namespace torchsmooth {

TS_HD uint32_t mulhi(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
}

#if defined(__GNUC__) && !defined(__CUDACC__)
// Eight counters side by side. The multiplication is the one operation of Philox that compilers
// do not vectorise well by themselves.
typedef uint32_t Words8 __attribute__((vector_size(32)));

TS_HD Words8 mulhi(uint32_t a, Words8 b) {
#if defined(TORCHSMOOTH_AVX2)
  const __m256i m = _mm256_set1_epi32(static_cast<int32_t>(a)), v = (__m256i)b;
  const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(v, m), 32);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), m);
  return (Words8)_mm256_blend_epi32(even, odd, 0xAA);
#else
  Words8 high;
  for (int l = 0; l < 8; ++l) high[l] = mulhi(a, b[l]);
  return high;
#endif
}
#endif

// What a counter is used for. It is the last word of the counter, so that no two uses share one.
enum class Stream : uint32_t { points = 0, permutation = 1, jitter = 2, scramble = 3 };

// Words, or vectors of them. What is the same in all lanes stays a word for as long as it is the
// same: of ten rounds of vectors that saves one.
template <class C0, class C1, class C2, class C3>
struct Counter {
  C0 c0;
  C1 c1;
  C2 c2;
  C3 c3;
};
template <class C0, class C1, class C2, class C3>
Counter(C0, C1, C2, C3) -> Counter<C0, C1, C2, C3>;

template <class C>
TS_HD auto philox_round(const C& c, uint32_t k0, uint32_t k1) {
  return Counter{mulhi(0xCD9E8D57u, c.c2) ^ (c.c1 ^ k0), 0xCD9E8D57u * c.c2,
                 mulhi(0xD2511F53u, c.c0) ^ (c.c3 ^ k1), 0xD2511F53u * c.c0};
}

// Counters that take their rounds together: a round waits for the products of the one before it, and
// one counter alone leaves the processor idle meanwhile.
template <class C, int D>
struct Counters {
  C at[D];
};

template <class C, int D, size_t... d>
TS_HD auto philox_round(const Counters<C, D>& c, uint32_t k0, uint32_t k1,
                        std::index_sequence<d...>) {
  return Counters<decltype(philox_round(c.at[0], k0, k1)), D>{{philox_round(c.at[d], k0, k1)...}};
}

// The rounds, without a loop, so that the state stays in registers.
template <int kRound = 0, class C, int D>
TS_HD auto philox_rounds(const Counters<C, D>& c, uint32_t k0, uint32_t k1) {
  if constexpr (kRound == 10) {
    return c;
  } else {
    return philox_rounds<kRound + 1>(philox_round(c, k0, k1, std::make_index_sequence<D>{}),
                                     k0 + 0x9E3779B9u, k1 + 0xBB67AE85u);
  }
}

// One evaluation for each of L counters (first[l], dimension + d, element, stream) and each of D
// dimensions: its four words are out[d][l], out[d][L + l], and so on.
template <int L, int D>
TS_HD void philox(int64_t seed, const uint32_t (&first)[L], uint32_t dimension, uint32_t element,
                  Stream stream, uint32_t (&out)[D][4 * L]) {
  const uint32_t k0 = static_cast<uint32_t>(static_cast<uint64_t>(seed));
  const uint32_t k1 = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
#if defined(__GNUC__) && !defined(__CUDACC__)
  if constexpr (L % 8 == 0) {
    for (int l = 0; l < L; l += 8) {
      Words8 c0;
      memcpy(&c0, first + l, sizeof(Words8));
      Counters<Counter<Words8, uint32_t, uint32_t, uint32_t>, D> start;
      for (uint32_t d = 0; d < D; ++d)
        start.at[d] = {c0, dimension + d, element, static_cast<uint32_t>(stream)};
      const auto end = philox_rounds(start, k0, k1);
      for (int d = 0; d < D; ++d) {
        memcpy(out[d] + l, &end.at[d].c0, sizeof(Words8));
        memcpy(out[d] + L + l, &end.at[d].c1, sizeof(Words8));
        memcpy(out[d] + 2 * L + l, &end.at[d].c2, sizeof(Words8));
        memcpy(out[d] + 3 * L + l, &end.at[d].c3, sizeof(Words8));
      }
    }
    return;
  }
#endif
  for (int l = 0; l < L; ++l) {
    Counters<Counter<uint32_t, uint32_t, uint32_t, uint32_t>, D> start;
    for (uint32_t d = 0; d < D; ++d)
      start.at[d] = {first[l], dimension + d, element, static_cast<uint32_t>(stream)};
    const auto end = philox_rounds(start, k0, k1);
    for (int d = 0; d < D; ++d) {
      out[d][l] = end.at[d].c0;
      out[d][L + l] = end.at[d].c1;
      out[d][2 * L + l] = end.at[d].c2;
      out[d][3 * L + l] = end.at[d].c3;
    }
  }
}

// The four words of one counter.
struct Key {
  uint32_t k[4];
};

TS_HD Key philox_key(int64_t seed, uint32_t dimension, uint32_t element, Stream stream) {
  const uint32_t zero[1] = {0};
  uint32_t word[1][4];
  philox<1, 1>(seed, zero, dimension, element, stream, word);
  return {{word[0][0], word[0][1], word[0][2], word[0][3]}};
}

}  // namespace torchsmooth
