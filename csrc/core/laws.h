// The laws of the noise, at location 0 and scale 1. A law is a struct of functions:
//
//   draw(u)      noise = icdf(u) and score(icdf(u)), computed together from the uniform number:
//                most scores are simpler in u than in the noise, and need no second libm call
//   cdf(x)       P(noise <= x)
//   log_prob(x)  log density
//   score(x)     d/dx (-log density)
//   tails(x)     P(noise <= x), P(noise > x) and the density, accurate absolutely, for lanes: in
//                places without branches or calls
//   panels<T>()  how integrals of products of these functions are cut, see nodes.h
//
// A new law is one struct and one line in TORCHSMOOTH_LAWS.
#pragma once

#include "math.h"
#include "uniform.h"

namespace torchsmooth {

constexpr double kPi = 3.14159265358979323846;

template <class T>
struct Draw {
  T noise;
  T score;
};

template <class T>
struct Tails {
  T below;
  T above;
  T density;
};
// Of a symmetric law, where `tail` is the smaller of the two.
template <class T>
TS_HD Tails<T> symmetric_tails(T x, T tail, T density) {
  const T rest = T(1) - tail;
  return {x < T(0) ? tail : rest, x < T(0) ? rest : tail, density};
}

// How a law's integrals are cut into panels of Gauss-Legendre nodes; lengths in scales.
enum class Reach : int32_t { edge, quantile, infinite };  // of the noise that counts; edge: 1
struct PanelRule {
  Reach reach;
  double width;   // of a panel of kPanelNodes nodes at an element
  double crowd;   // how many elements within a scale narrow it by sqrt(2)
  double growth;  // what its width may gain per distance from the element
  int kinks;      // where the density is not smooth: none, at 0 (1), at -1 and 1 (2), at all (3)
  bool roots;     // whether it ends there like a square root
};

// Sign bits are flipped and not selected: of selections that depend on one another GCC makes
// branches, and then it does not vectorise.
TS_HD float with_sign(bool negative, float x) {
  return bit_cast<float>(bit_cast<uint32_t>(x) ^ (static_cast<uint32_t>(negative) << 31));
}
TS_HD double with_sign(bool negative, double x) {
  return bit_cast<double>(bit_cast<uint64_t>(x) ^ (static_cast<uint64_t>(negative) << 63));
}

// Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
// Statistics 37, 1988 (PPND7 and PPND16). Its third region starts at a tail of e^-25; a word's
// tail is at least 2^-33 > e^-23.
struct Gaussian {
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    const T q = T(0.5) - u.tail;
    const T central = q * central_ratio(fused(-q, q, T(0.180625)));
    const T outer = tail_ratio(square_root(-logarithm(u.tail)) - T(1.6));
    const T noise = with_sign(!u.upper, q <= T(0.425) ? central : outer);
    return {noise, noise};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    return T(0.5) * erfc(-x * T(0.70710678118654752440));
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    return T(-0.5) * x * x - T(0.91893853320467274178);
  }
  template <class T>
  static TS_HD T score(T x) {
    return x;
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T a = fabs(x), bell = decay(T(0.5) * x * x);
    const T tail = bell * scaled_normal_tail((a - T(4)) / (a + T(4))) / (T(1) + T(2) * a);
    return symmetric_tails(x, tail, bell * T(0.39894228040143267794));
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::quantile, 6.2, 4.0, 1.5, 0, false}
                          : PanelRule{Reach::quantile, 4.2, 4.0, 1.0, 0, false};
  }

 private:
  static TS_HD float central_ratio(float r) {
    return polynomial(r, 3.3871327179e0f, 5.0434271938e1f, 1.5929113202e2f, 5.9109374720e1f) /
           polynomial(r, 1.0f, 1.7895169469e1f, 7.8757757664e1f, 6.7187563600e1f);
  }
  static TS_HD float tail_ratio(float r) {
    return polynomial(r, 1.4234372777e0f, 2.7568153900e0f, 1.3067284816e0f, 1.7023821103e-1f) /
           polynomial(r, 1.0f, 7.3700164250e-1f, 1.2021132975e-1f);
  }
  static TS_HD double central_ratio(double r) {
    return polynomial(r, 3.3871328727963666080e0, 1.3314166789178437745e2,
                      1.9715909503065514427e3, 1.3731693765509461125e4, 4.5921953931549871457e4,
                      6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3) /
           polynomial(r, 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                      5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4,
                      2.8729085735721942674e4, 5.2264952788528545610e3);
  }
  static TS_HD double tail_ratio(double r) {
    return polynomial(r, 1.42343711074968357734e0, 4.63033784615654529590e0,
                      5.76949722146069140550e0, 3.64784832476320460504e0,
                      1.27045825245236838258e0, 2.41780725177450611770e-1,
                      2.27238449892691845833e-2, 7.74545014278341407640e-4) /
           polynomial(r, 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                      6.89767334985100004550e-1, 1.48103976427480074590e-1,
                      1.51986665636164571966e-2, 5.47593808499534494600e-4,
                      1.05075007164441684324e-9);
  }
};

struct Logistic {
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    return {with_sign(!u.upper, log_ratio(T(1) - u.tail, u.tail)),
            with_sign(!u.upper, T(1) - T(2) * u.tail)};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    const T e = exp(-fabs(x));
    return (x < T(0) ? e : T(1)) / (T(1) + e);
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    const T a = fabs(x);
    return -a - T(2) * log1p(exp(-a));
  }
  template <class T>
  static TS_HD T score(T x) {
    return tanh(T(0.5) * x);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T e = decay(fabs(x)), tail = e / (T(1) + e);
    return symmetric_tails(x, tail, tail * (T(1) - tail));
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::quantile, 8.5, 5.0, 3.0, 0, false}
                          : PanelRule{Reach::quantile, 5.4, 6.0, 1.5, 0, false};
  }
};

// The law of a maximum: its upper tail falls as exp(-x), its lower one as exp(-exp(-x)).
struct Gumbel {
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    const T log_u = log_tail(u.tail, u.upper);
    return {-logarithm(-log_u), T(1) + log_u};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    return exp(-exp(-x));
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    return -x - exp(-x);
  }
  template <class T>
  static TS_HD T score(T x) {
    return -expm1(-x);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    // Below -6 there is nothing: exp(-exp(6)) < 1e-175.
    const T e = exponential(x < T(-6) ? T(6) : x > T(80) ? T(-80) : -x), below = decay(e);
    const T near = e * (T(1) - e * T(0.5) * (T(1) - e * T(1.0 / 3) * (T(1) - e * T(0.25))));
    return {below, e < T(0.001) ? near : T(1) - below, e * below};
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::quantile, 5.2, 6.0, 1.0, 0, false}
                          : PanelRule{Reach::quantile, 2.9, 7.0, 0.5, 0, false};
  }
};

struct Cauchy {
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    const T sine_pi = sine(T(kPi) * u.tail);
    const T cosine_pi = sine(T(kPi) * (T(0.5) - u.tail));
    return {with_sign(!u.upper, cosine_pi / sine_pi),
            with_sign(!u.upper, T(2) * sine_pi * cosine_pi)};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    // atan(1 / |x|) / pi is the tail itself; 1/2 + atan(x) / pi would cancel there.
    const T tail = atan2(T(1), fabs(x)) / T(kPi);
    return x < T(0) ? tail : T(1) - tail;
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    // log(1 + x^2) without overflow of x^2.
    const T a = fabs(x);
    const T log_square = a > T(1e6) ? T(2) * log(a) : log1p(a * a);
    return -log_square - T(1.14472988584940017414);
  }
  template <class T>
  static TS_HD T score(T x) {
    // 2x / (1 + x^2), by 1/x where x^2 could overflow.
    const bool large = fabs(x) > T(1);
    const T y = large ? T(1) / x : x;
    return T(2) * y / (T(1) + y * y);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T a = fabs(x), inverse = T(1) / (a > T(1) ? a : T(1));
    const T angle = arctangent(a > T(1) ? inverse : a) * T(1 / kPi);
    // 1 / (1 + a^2) without overflow.
    const T square = a > T(1) ? inverse * inverse : T(1), low = a > T(1) ? T(1) : a;
    return symmetric_tails(x, a > T(1) ? angle : T(0.5) - angle,
                           square / (square + low * low) * T(1 / kPi));
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::infinite, 3.8, 8.0, 1.5, 0, false}
                          : PanelRule{Reach::infinite, 2.1, 15.0, 1.0, 0, false};
  }
};

struct Laplace {
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    return {with_sign(!u.upper, -logarithm(T(2) * u.tail)), with_sign(!u.upper, T(1))};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    const T tail = T(0.5) * exp(-fabs(x));
    return x < T(0) ? tail : T(1) - tail;
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    return -fabs(x) - T(0.69314718055994530942);
  }
  template <class T>
  static TS_HD T score(T x) {
    return x > T(0) ? T(1) : (x < T(0) ? T(-1) : T(0) * x);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T tail = T(0.5) * decay(fabs(x));
    return symmetric_tails(x, tail, tail);
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::quantile, 8.0, 2.2, 0.5, 1, false}
                          : PanelRule{Reach::quantile, 5.2, 2.5, 0.5, 1, false};
  }
};

// Density 1 - |x| on [-1, 1].
struct Triangular {
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    const T edge = square_root(T(2) * u.tail);  // 1 - |noise|
    return {with_sign(!u.upper, T(1) - edge), with_sign(!u.upper, T(1) / edge)};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    const T edge = fmax(T(1) - fabs(x), T(0));
    const T tail = T(0.5) * edge * edge;
    return x < T(0) ? tail : T(1) - tail;
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    return log(fmax(T(1) - fabs(x), T(0)));
  }
  template <class T>
  static TS_HD T score(T x) {
    const T a = fabs(x);
    const T magnitude = a < T(1) ? T(1) / (T(1) - a) : T(0);
    return x > T(0) ? magnitude : (x < T(0) ? -magnitude : T(0) * x);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T a = fabs(x), edge = a < T(1) ? T(1) - a : T(0);
    return symmetric_tails(x, T(0.5) * edge * edge, edge);
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::edge, 4.0, 1.8, 0.5, 3, false}
                          : PanelRule{Reach::edge, 2.7, 1.6, 0.5, 3, false};
  }
};

// Density 2/pi sqrt(1 - x^2) on [-1, 1]: the scale is the radius of the semicircle.
struct WignerSemicircle {
  // |noise| = cos a where the tail is (a - sin a cos a) / pi, that is t - sin t = 2 pi tail for
  // t = 2a. Kepler's equation of eccentricity 1 is solved by its series in (6 * 2 pi tail)^(1/3)
  // and Newton's iteration, all in powers of t, so that small t keep their relative accuracy.
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    const T mean_anomaly = T(2 * kPi) * u.tail;
    const T x = cube_root(T(6) * mean_anomaly), z = x * x;
    T t = x * polynomial(z, T(1), T(1.0 / 60), T(1.0 / 1400), T(1.0 / 25200),
                         T(43.0 / 17248000), T(1213.0 / 7207200000.0));
    t = newton_step(newton_step(t, mean_anomaly), mean_anomaly);
    if constexpr (sizeof(T) == 8) t = newton_step(t, mean_anomaly);
    const T a = T(0.5) * t, rest = T(0.5 * kPi) - a;
    const T sine_a = sine(a), noise = sine(rest > T(0) ? rest : T(0));
    return {with_sign(!u.upper, noise), with_sign(!u.upper, noise / (sine_a * sine_a))};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    const T a = acos(fmin(fabs(x), T(1)));
    const T t = T(2) * a;
    // t - sin t cancels for small t; its Taylor series does not.
    const T excess = t < T(0.5)
                         ? t * t * t *
                               polynomial(t * t, T(1.0 / 6), T(-1.0 / 120), T(1.0 / 5040),
                                          T(-1.0 / 362880), T(1.0 / 39916800),
                                          T(-1.0 / 6227020800.0))
                         : t - sin(t);
    const T tail = excess / T(2 * kPi);
    return x < T(0) ? tail : T(1) - tail;
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    return T(0.5) * log(fmax((T(1) - x) * (T(1) + x), T(0))) - T(0.45158270528945486473);
  }
  template <class T>
  static TS_HD T score(T x) {
    const T room = (T(1) - x) * (T(1) + x);
    return room > T(0) ? x / room : T(0);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T a = fabs(x) < T(1) ? fabs(x) : T(1), root = square_root((T(1) - a) * (T(1) + a));
    const T angle = T(2) * arctangent(square_root((T(1) - a) / (T(1) + a)));  // arccos a
    return symmetric_tails(x, (angle - a * root) * T(1 / kPi), root * T(2 / kPi));
  }
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::edge, 2.0, 1.8, 0.5, 2, true}
                          : PanelRule{Reach::edge, 1.5, 1.2, 0.5, 2, true};
  }

 private:
  // Of t - sin t = mean_anomaly.
  template <class T>
  static TS_HD T newton_step(T t, T mean_anomaly) {
    const T square = t * t;
    // (t - sin t) / t^2 and (1 - cos t) / t^2
    const T excess =
        t * polynomial(square, T(1.0 / 6), T(-1.0 / 120), T(1.0 / 5040), T(-1.0 / 362880),
                       T(1.0 / 39916800), T(-1.0 / 6227020800.0), T(1.0 / 1307674368000.0),
                       T(-1.0 / 355687428096000.0), T(1.0 / 121645100408832000.0),
                       T(-1.0 / 51090942171709440000.0), T(1.0 / 25852016738884976640000.0),
                       T(-1.0 / 15511210043330985984000000.0),
                       T(1.0 / 10888869450418352160768000000.0));
    const T slope =
        polynomial(square, T(1.0 / 2), T(-1.0 / 24), T(1.0 / 720), T(-1.0 / 40320),
                   T(1.0 / 3628800), T(-1.0 / 479001600), T(1.0 / 87178291200.0),
                   T(-1.0 / 20922789888000.0), T(1.0 / 6402373705728000.0),
                   T(-1.0 / 2432902008176640000.0), T(1.0 / 1124000727777607680000.0),
                   T(-1.0 / 620448401733239439360000.0), T(1.0 / 403291461126605635584000000.0));
    return t - (excess - mean_anomaly / square) / slope;
  }
};

// Density sech(x) / pi. Its distribution function is 2/pi atan(exp(x)).
struct HyperbolicSecant {
  // The tail is 2/pi atan(exp(-|noise|)): |noise| is the logarithm of the cotangent of pi/2 tail, and
  // the score tanh |noise| = cos(pi tail) = cos^2 - sin^2 of pi/2 tail.
  template <class T>
  static TS_HD Draw<T> draw(Uniform<T> u) {
    const T angle = T(0.5 * kPi) * u.tail;
    const T sine_of = sine(angle), cosine_of = sine(T(0.5 * kPi) - angle);
    return {with_sign(!u.upper, log_ratio(cosine_of, sine_of)),
            with_sign(!u.upper, (cosine_of - sine_of) * (cosine_of + sine_of))};
  }
  template <class T>
  static TS_HD T cdf(T x) {
    const T tail = T(2 / kPi) * atan(exp(-fabs(x)));
    return x < T(0) ? tail : T(1) - tail;
  }
  template <class T>
  static TS_HD T log_prob(T x) {
    const T a = fabs(x);
    return -a - log1p(exp(T(-2) * a)) - T(0.45158270528945486473);
  }
  template <class T>
  static TS_HD T score(T x) {
    return tanh(x);
  }
  template <class T>
  static TS_HD Tails<T> tails(T x) {
    const T e = decay(fabs(x));
    return symmetric_tails(x, T(2 / kPi) * arctangent(e), T(2 / kPi) * e / (T(1) + e * e));
  }
  // Its poles lie half as far from the real axis as those of the logistic law.
  template <class T>
  static TS_HD PanelRule panels() {
    return sizeof(T) == 4 ? PanelRule{Reach::quantile, 4.2, 5.0, 1.0, 0, false}
                          : PanelRule{Reach::quantile, 2.7, 6.0, 0.5, 0, false};
  }
};

// X(struct, name): the name is the one that Python passes.
#define TORCHSMOOTH_LAWS(X)              \
  X(Gaussian, gaussian)                  \
  X(Logistic, logistic)                  \
  X(Gumbel, gumbel)                      \
  X(Cauchy, cauchy)                      \
  X(Laplace, laplace)                    \
  X(Triangular, triangular)              \
  X(WignerSemicircle, wigner_semicircle) \
  X(HyperbolicSecant, hyperbolic_secant)

enum class Law : int32_t {
#define X(type, name) name,
  TORCHSMOOTH_LAWS(X)
#undef X
};

// Calls f with the struct of the law.
template <class F>
TS_HD void with_law(Law law, F&& f) {
  switch (law) {
#define X(type, name) \
  case Law::name:     \
    f(type{});        \
    break;
    TORCHSMOOTH_LAWS(X)
#undef X
  }
}

}  // namespace torchsmooth
