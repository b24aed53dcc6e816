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

// exponent * log 2 + 2 artanh(s) for s^2 < 0.0406: as many terms of artanh as the type resolves.
TS_HD float log_from_artanh(float exponent, float s) {
  const float z = s * s;
  const float tail = z * polynomial(z, 2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9);
  // ln 2 in two pieces: the first has so few bits that its product with the exponent is exact.
  return fused(exponent, 0.693145751953125f,
               fused(s, tail, fused(exponent, 1.42860682030941723212e-6f, 2.0f * s)));
}
TS_HD double log_from_artanh(double exponent, double s) {
  const double z = s * s;
  const double tail =
      z * polynomial(z, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17,
                     2.0 / 19, 2.0 / 21);
  return fused(exponent, 0.693147180369123816490,
               fused(s, tail, fused(exponent, 1.90821492927058770002e-10, 2.0 * s)));
}

// x = 2^exponent * rest.
template <class T>
struct Scaled {
  T exponent;
  T rest;
};

// Positive normal x, with the rest in [1/sqrt 2, sqrt 2). Bits are counted as unsigned numbers, which
// wrap: of another x the result means nothing, but it is defined.
TS_HD Scaled<float> split_exponent(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x);
  const int32_t e = static_cast<int32_t>(bits - 0x3F3504F3u) >> 23;
  return {static_cast<float>(e), bit_cast<float>(bits - (static_cast<uint32_t>(e) << 23))};
}
TS_HD Scaled<double> split_exponent(double x) {
  const uint64_t bits = bit_cast<uint64_t>(x);
  const int64_t e = static_cast<int64_t>(bits - 0x3FE6A09E667F3BCDull) >> 52;
  return {static_cast<double>(static_cast<int32_t>(e)),
          bit_cast<double>(bits - (static_cast<uint64_t>(e) << 52))};
}

// log x for positive normal x: log of the rest m = 2 artanh(s) with s = (m - 1) / (m + 1).
template <class T>
TS_HD T logarithm(T x) {
  const Scaled<T> split = split_exponent(x);
  return log_from_artanh(split.exponent, (split.rest - T(1)) / (split.rest + T(1)));
}

// b times the power of 2 that brings it near a, for positive normal a and b. The bits of a number
// are about its logarithm, so that a / rest is in [2^-0.59, 2^0.59].
TS_HD Scaled<float> near_to(float a, float b) {
  const uint32_t bits = bit_cast<uint32_t>(b);
  const int32_t e = static_cast<int32_t>(bit_cast<uint32_t>(a) - bits + 0x400000u) >> 23;
  return {static_cast<float>(e), bit_cast<float>(bits + (static_cast<uint32_t>(e) << 23))};
}
TS_HD Scaled<double> near_to(double a, double b) {
  const uint64_t bits = bit_cast<uint64_t>(b);
  const int64_t e = static_cast<int64_t>(bit_cast<uint64_t>(a) - bits + 0x8000000000000ull) >> 52;
  return {static_cast<double>(static_cast<int32_t>(e)),
          bit_cast<double>(bits + (static_cast<uint64_t>(e) << 52))};
}

// log(a / b) for positive normal a and b, with one division, and accurate for a near b.
template <class T>
TS_HD T log_ratio(T a, T b) {
  const Scaled<T> near = near_to(a, b);
  return log_from_artanh(near.exponent, (a - near.rest) / (a + near.rest));
}

// log p, or log(1 - p), for p in (0, 1/2]: one division for both, accurate for small p.
template <class T>
TS_HD T log_tail(T p, bool complement) {
  const Scaled<T> split = split_exponent(p);
  // log(1 - p) = log q + 2 artanh((1 - p - q) / (1 - p + q)) with q = 1 or 1/2.
  const bool half = p > T(0.29289321881345247560);  // 1 - 1 / sqrt 2
  const T numerator = complement ? (half ? T(0.5) : T(0)) - p : split.rest - T(1);
  const T denominator = complement ? (half ? T(1.5) : T(2)) - p : split.rest + T(1);
  const T exponent = complement ? (half ? T(-1) : T(0)) : split.exponent;
  return log_from_artanh(exponent, numerator / denominator);
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
