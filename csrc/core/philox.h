// Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011. The output is a pure function of key and counter, so
// that a random number belongs to an element of the problem and not to a thread.
#pragma once

#include <string.h>

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

// V: a word, or a vector of them.
template <class V>
struct Counter {
  V c0, c1, c2, c3;
};

template <class V>
TS_HD Counter<V> philox_round(const Counter<V>& c, uint32_t k0, uint32_t k1) {
  return {mulhi(0xCD9E8D57u, c.c2) ^ c.c1 ^ k0, 0xCD9E8D57u * c.c2,
          mulhi(0xD2511F53u, c.c0) ^ c.c3 ^ k1, 0xD2511F53u * c.c0};
}

// The rounds, without a loop, so that the state stays in registers.
template <int kRound = 0, class V>
TS_HD Counter<V> philox_rounds(const Counter<V>& c, uint32_t k0, uint32_t k1) {
  if constexpr (kRound == 10) {
    return c;
  } else {
    return philox_rounds<kRound + 1>(philox_round(c, k0, k1), k0 + 0x9E3779B9u, k1 + 0xBB67AE85u);
  }
}

// One evaluation for each of L counters (first[l], dimension, element, stream).
template <int L>
TS_HD void philox(int64_t seed, const uint32_t (&first)[L], uint32_t dimension, uint32_t element,
                  Stream stream, uint32_t (&out)[4 * L]) {
  const uint32_t k0 = static_cast<uint32_t>(static_cast<uint64_t>(seed));
  const uint32_t k1 = static_cast<uint32_t>(static_cast<uint64_t>(seed) >> 32);
  const uint32_t use = static_cast<uint32_t>(stream);
#if defined(__GNUC__) && !defined(__CUDACC__)
  if constexpr (L % 8 == 0) {
    for (int l = 0; l < L; l += 8) {
      Counter<Words8> c{Words8{}, Words8{} + dimension, Words8{} + element, Words8{} + use};
      memcpy(&c.c0, first + l, sizeof(Words8));
      c = philox_rounds(c, k0, k1);
      memcpy(out + l, &c.c0, sizeof(Words8));
      memcpy(out + L + l, &c.c1, sizeof(Words8));
      memcpy(out + 2 * L + l, &c.c2, sizeof(Words8));
      memcpy(out + 3 * L + l, &c.c3, sizeof(Words8));
    }
    return;
  }
#endif
  for (int l = 0; l < L; ++l) {
    const Counter<uint32_t> c =
        philox_rounds(Counter<uint32_t>{first[l], dimension, element, use}, k0, k1);
    out[l] = c.c0;
    out[L + l] = c.c1;
    out[2 * L + l] = c.c2;
    out[3 * L + l] = c.c3;
  }
}

// The four words of one counter.
struct Key {
  uint32_t k[4];
};

TS_HD Key philox_key(int64_t seed, uint32_t dimension, uint32_t element, Stream stream) {
  const uint32_t zero[1] = {0};
  Key key;
  philox<1>(seed, zero, dimension, element, stream, key.k);
  return key;
}

}  // namespace torchsmooth
