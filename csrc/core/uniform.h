// A uniform random number is a 32-bit word w. It stands for u = (w + 1/2) / 2^32, which is never
// 0 and never 1, and which is mirrored exactly: the word of 1 - u is ~w.
#pragma once

#include "macros.h"

namespace torchsmooth {

// u told by its distance from the nearer end of (0, 1). A float next to 1 resolves 2^-24, a float
// next to 0 resolves far more: so both tails are reached, and each with full relative accuracy.
template <class T>
struct Uniform {
  T tail;      // min(u, 1 - u), in (0, 1/2]
  bool upper;  // u > 1/2
};

template <class T>
TS_HD Uniform<T> uniform_from_word(uint32_t word) {
  const bool upper = (word >> 31) != 0;
  // ~word if upper, else word. At most 2^31 - 1, so the signed conversion (the one that vector units
  // have) is right.
  const int32_t distance = static_cast<int32_t>(word) ^ (static_cast<int32_t>(word) >> 31);
  return {(static_cast<T>(distance) + T(0.5)) * T(2.3283064365386962890625e-10), upper};
}

}  // namespace torchsmooth
