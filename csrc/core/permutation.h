// A random permutation of 0 ... size-1 as a keyed bijection: no table, any size, any lane alone.
// Swap-or-not: Hoang, Morris, Rogaway, "An enciphering scheme based on a card shuffle", CRYPTO
// 2012. A round pairs x with shift - x (mod size) and swaps each pair on a fair coin that both
// partners compute from the larger of the two. A card that no coin has moved keeps its place: that
// has probability 2^-kRounds, and so bounds what is left of the order before.
#pragma once

#include "philox.h"

namespace torchsmooth {

constexpr uint32_t kRounds = 16;

// A bijection of 32-bit words in which every input bit reaches every output bit.
TS_HD uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6Bu;
  x ^= x >> 13;
  x *= 0xC2B2AE35u;
  x ^= x >> 16;
  return x;
}

template <int N>
TS_HD void permute(const Key& key, uint32_t size, uint32_t (&x)[N]) {
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint32_t a = mix(key.k[round & 3] + round * 0x9E3779B9u);
    const uint32_t coin = mix(a ^ key.k[(round + 1) & 3]);
    const uint32_t shift = mulhi(a, size);
    TS_LANES
    for (int i = 0; i < N; ++i) {
      const uint32_t difference = shift - x[i];
      const uint32_t partner = x[i] > shift ? difference + size : difference;
      const uint32_t larger = partner > x[i] ? partner : x[i];
      uint32_t hash = (larger ^ coin) * 0x7FEB352Du;
      hash = (hash ^ (hash >> 15)) * 0x846CA68Bu;
      x[i] = (hash >> 31) ? partner : x[i];
    }
  }
}

}  // namespace torchsmooth
