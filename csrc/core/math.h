// Elementary functions without branches, calls or tables, so that loops over lanes vectorise and
// host and device evaluate the same expression. Each states its domain; none handles the rest.
// Multiply-adds are written out: the compilers are told to contract nothing by themselves.
#pragma once

#include <math.h>
#include <string.h>

#include "macros.h"

namespace torchsmooth {

TS_HD float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__) || defined(TORCHSMOOTH_FMA)
  return fmaf(a, b, c);
#else
  return a * b + c;  // fmaf would be a call into libm here
#endif
}
TS_HD double fused(double a, double b, double c) {
#if defined(__CUDA_ARCH__) || defined(TORCHSMOOTH_FMA)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

TS_HD float square_root(float x) { return sqrtf(x); }
TS_HD double square_root(double x) { return sqrt(x); }

// c0 + x (c1 + x (c2 + ...)), Horner's scheme.
template <class T>
TS_HD T polynomial(T, T c0) {
  return c0;
}
template <class T, class... Rest>
TS_HD T polynomial(T x, T c0, Rest... rest) {
  return fused(polynomial(x, rest...), x, c0);
}

template <class To, class From>
TS_HD To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast needs types of equal size");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// log x for positive normal x: x = 2^e m with m in [1/sqrt 2, sqrt 2), log m = 2 artanh(s) with
// s = (m - 1) / (m + 1), s^2 < 0.0295; as many terms of artanh as the type resolves.
TS_HD float logarithm(float x) {
  const int32_t bits = bit_cast<int32_t>(x);
  const int32_t e = (bits - 0x3F3504F3) >> 23;
  const float m = bit_cast<float>(static_cast<int32_t>(bits - (static_cast<uint32_t>(e) << 23)));
  const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  const float tail = z * polynomial(z, 2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9);
  const float exponent = static_cast<float>(e);
  // ln 2 in two pieces: the first has so few bits that its product with e is exact.
  return fused(exponent, 0.693145751953125f,
               fused(s, tail, fused(exponent, 1.42860682030941723212e-6f, 2.0f * s)));
}
TS_HD double logarithm(double x) {
  const int64_t bits = bit_cast<int64_t>(x);
  const int64_t e = (bits - 0x3FE6A09E667F3BCDLL) >> 52;
  const double m =
      bit_cast<double>(static_cast<int64_t>(bits - (static_cast<uint64_t>(e) << 52)));
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  const double tail =
      z * polynomial(z, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17,
                     2.0 / 19, 2.0 / 21);
  const double exponent = static_cast<double>(static_cast<int32_t>(e));
  return fused(exponent, 0.693147180369123816490,
               fused(s, tail, fused(exponent, 1.90821492927058770002e-10, 2.0 * s)));
}

// log(1 - p) for p in (0, 1/2], accurate for small p: with q = fl(1 - p), log q (p / (1 - q))
// cancels the rounding of q (Goldberg, "What every computer scientist should know", theorem 4).
// Where q rounds to 1, log(1 - p) = -p.
template <class T>
TS_HD T log_one_minus(T p) {
  const T q = T(1) - p, d = T(1) - q;
  return d > T(0) ? logarithm(q) * (p / (d > T(0) ? d : T(1))) : -p;
}

// sin y for y in [0, pi/2], Taylor.
TS_HD float sine(float y) {
  const float z = y * y;
  return fused(y * z,
               polynomial(z, -1.0f / 6, 1.0f / 120, -1.0f / 5040, 1.0f / 362880, -1.0f / 39916800),
               y);
}
TS_HD double sine(double y) {
  const double z = y * y;
  return fused(y * z,
               polynomial(z, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                          1.0 / 6227020800.0, -1.0 / 1307674368000.0, 1.0 / 355687428096000.0,
                          -1.0 / 121645100408832000.0, 1.0 / 51090942171709440000.0),
               y);
}

// x^(1/3) for positive normal x: a third of the exponent, then Newton's iteration.
TS_HD float cube_root(float x) {
  const float third = static_cast<float>(bit_cast<int32_t>(x)) * (1.0f / 3);
  float y = bit_cast<float>(static_cast<int32_t>(third) + 0x2A51744E);
  y = fused(x / (y * y) - y, 1.0f / 3, y);
  y = fused(x / (y * y) - y, 1.0f / 3, y);
  return fused(x / (y * y) - y, 1.0f / 3, y);
}
TS_HD double cube_root(double x) {
  double y = cube_root(static_cast<float>(x));
  y = fused(x / (y * y) - y, 1.0 / 3, y);
  return fused(x / (y * y) - y, 1.0 / 3, y);
}

}  // namespace torchsmooth
