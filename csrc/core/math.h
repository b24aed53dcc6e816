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

// e^x for x in [-87, 87] (float) or [-700, 700] (double): 2^k e^r with |r| <= log(2) / 2. Adding
// 1.5 * 2^23 (2^52) rounds to an integer, whose bits are then the last ones of the sum.
TS_HD float exponential(float x) {
  const float shifted = fused(x, 1.44269504088896341f, 12582912.0f), k = shifted - 12582912.0f;
  const float r = fused(k, -1.42860682030941723212e-6f, fused(k, -0.693145751953125f, x));
  const float y = polynomial(r, 1.0f, 1.000000038f, 0.5000000047f, 0.1666641551f, 0.0416663529f,
                             0.008375126398f, 0.001394110843f);
  return bit_cast<float>(bit_cast<uint32_t>(y) + (bit_cast<uint32_t>(shifted) << 23));
}
TS_HD double exponential(double x) {
  const double shifted = fused(x, 1.44269504088896341, 6755399441055744.0);
  const double k = shifted - 6755399441055744.0;
  const double r = fused(k, -1.90821492927058770002e-10, fused(k, -0.693147180369123816490, x));
  const double y = polynomial(
      r, 1.0, 1.0, 0.5000000000000018386, 0.1666666666666668081, 0.0416666666664880955,
      0.008333333333319600611, 0.001388888895231477465, 0.0001984126989004711371,
      2.480148548232849242e-5, 2.755724091857896982e-6, 2.763263963904102975e-7,
      2.511003760596377771e-8);
  return bit_cast<double>(bit_cast<uint64_t>(y) + (bit_cast<uint64_t>(shifted) << 52));
}

// e^-a for a >= 0; beyond the exponents of the type, its least number, about.
TS_HD float decay(float a) { return exponential(-(a < 87.0f ? a : 87.0f)); }
TS_HD double decay(double a) { return exponential(-(a < 700.0 ? a : 700.0)); }

// atan(x) for x in [0, 1], as twice the angle whose tangent is x / (1 + sqrt(1 + x^2)).
TS_HD float arctangent(float x) {
  const float half = x / (1.0f + square_root(fused(x, x, 1.0f))), z = half * half;
  return 2.0f * half * polynomial(z, 0.9999999813f, -0.3333278577f, 0.1997408242f, -0.1384849021f,
                                  0.07976291807f);
}
TS_HD double arctangent(double x) {
  const double half = x / (1.0 + square_root(fused(x, x, 1.0))), z = half * half;
  return 2.0 * half *
         polynomial(z, 1.0, -0.3333333333332843857, 0.1999999999885511013, -0.1428571418097646683,
                    0.1111110618045594522, -0.0909077307480841379, 0.07689953496306857756,
                    -0.06640233930429408589, 0.05688349226809010479, -0.04348052215716462478,
                    0.02113537315769324521);
}

// (1 + 2a) e^(a^2 / 2) Q(a) for a >= 0, with Q the upper tail of the normal law, as a polynomial in
// y = (a - 4) / (a + 4): Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2)
// erfc x in 0 <= x < infinity", Mathematics of Computation 36, 1981.
TS_HD float scaled_normal_tail(float y) {
  return polynomial(y, 0.8496957717f, -0.02300922018f, -0.09637997581f, 0.1289077718f,
                    -0.09526076316f, 0.04436723621f, -0.0105100043f, -0.00122039521f,
                    0.001568768917f, -0.000125344002f, -0.0001897859313f, 2.223267249e-5f,
                    1.826962171e-5f);
}
TS_HD double scaled_normal_tail(double y) {
  return polynomial(
      y, 0.84969577171772043, -0.02300923310460571056, -0.09637998589041289328,
      0.1289081354456752948, -0.09526047896251360145, 0.04436429041966510636,
      -0.01051231925624679913, -0.001210059784991199304, 0.001576978468163763293,
      -0.0001433073758967330861, -0.0002043546528636693806, 3.787577560673907255e-5,
      3.15571219823931073e-5, -6.054081081844829571e-6, -5.887090085498370481e-6,
      6.359963941632472812e-7, 1.198219909246905596e-6, 1.855239730785891854e-8,
      -2.319151006704691141e-7, -2.55414827695205817e-8, 3.576034712076678011e-8,
      4.099752642964615377e-9, -3.119467218562735704e-9);
}

}  // namespace torchsmooth
