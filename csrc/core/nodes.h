// Nodes and weights for integrals over the value of one noisy element of a row: products of the
// elements' densities and distribution functions, each of which has its own place and scale.
//
// The axis is cut into panels with Gauss-Legendre nodes in each. The integrand is smooth on the
// length of a scale beside an element and ever smoother away from all of them, so that the width of
// a panel is bounded by a cone over each element: rule.width * scale at the element, and growing
// with the distance. Where m elements crowd within a scale, the number of those below t is a bell
// of width scale / sqrt(m), and the cones shrink likewise. Panels end where a density has a kink or
// an edge, and where nothing that counts is left (or at infinity, in 1 / t). How wide the cones are
// is a property of the law, PanelRule.
#pragma once

#include "laws.h"

namespace torchsmooth {

constexpr int kPanelNodes = 16;  // the most in a panel

namespace constant {

constexpr double cosine(double x) {  // |x| <= pi
  double term = 1, sum = 1;
  for (int k = 1; k <= 30; ++k) {
    term *= -x * x / ((2 * k - 1) * (2 * k));
    sum += term;
  }
  return sum;
}
constexpr double sine(double x) { return cosine(x - kPi / 2); }

}  // namespace constant

TS_HD double least_of(double a, double b) { return a < b ? a : b; }  // fmin is a call
TS_HD double most_of(double a, double b) { return a < b ? b : a; }

// The nodes of 1 ... kPanelNodes points on [0, 1]. For a panel at whose ends the integrand behaves
// like a square root: the same in the angle u of (1 - cos pi u) / 2, which makes it smooth.
struct NodeTable {
  double node[2][kPanelNodes + 1][kPanelNodes] = {};  // [roots, how many, which]
  double weight[2][kPanelNodes + 1][kPanelNodes] = {};

  constexpr NodeTable() {
    for (int count = 1; count <= kPanelNodes; ++count) {
      for (int k = 0; k < count; ++k) {
        // Newton's iteration on the Legendre polynomial.
        double x = -constant::cosine(kPi * (k + 0.75) / (count + 0.5)), slope = 1;
        for (int step = 0; step < 8; ++step) {
          double low = 1, high = x;
          for (int n = 2; n <= count; ++n) {
            const double next = ((2 * n - 1) * x * high - (n - 1) * low) / n;
            low = high;
            high = next;
          }
          slope = count * (x * high - low) / (x * x - 1);
          x -= high / slope;
        }
        const double u = 0.5 * (1 + x), w = 1 / ((1 - x * x) * slope * slope);
        node[0][count][k] = u;
        weight[0][count][k] = w;
        node[1][count][k] = 0.5 * (1 - constant::cosine(kPi * u));
        weight[1][count][k] = 0.5 * kPi * constant::sine(kPi * u) * w;
      }
    }
  }
};

// t = origin + length * node, or for the tails origin + length / node; in rising order. What is added
// to the origin is kept apart: far from 0 their sum would have fewer digits.
struct Panel {
  double origin, length;
  int count;
  bool roots, tail;

  TS_HD void node(const NodeTable& table, int k, double* offset, double* weight) const {
    if (!tail) {
      *offset = length * table.node[roots][count][k];
      *weight = length * table.weight[roots][count][k];
      return;
    }
    const int index = length < 0 ? k : count - 1 - k;
    const double u = table.node[0][count][index];
    *offset = length / u;
    *weight = fabs(length) / (u * u) * table.weight[0][count][index];
  }
};

// How much the quantity that is integrated depends on counts.
enum class Crowding : int32_t {
  none,     // it is a sum over pairs
  extreme,  // it is about the largest or smallest element, whose law hardly narrows
  full,     // it is about how many elements are below
};

// How many nodes a panel needs that is `share` of the widest for kPanelNodes: with the nearest
// singularity y half widths away, n nodes give an error of (y + sqrt(1 + y^2))^(-2n),
// here 1e-7 (float) or 1e-11 (double).
template <class T>
TS_HD int panel_nodes(double share, int least) {
  constexpr double single[] = {3.32e-4, 0.0187, 0.0719, 0.143, 0.218, 0.294, 0.369, 0.443,
                               0.515,   0.586,  0.657,  0.726, 0.795, 0.864, 0.932, 1.0};
  constexpr double twice[] = {5.55e-6, 0.00312, 0.0257, 0.0741, 0.14,  0.216, 0.295, 0.376,
                              0.457,   0.537,   0.616,  0.695,  0.772, 0.849, 0.925, 1.0};
  int n = least;
  while (n < kPanelNodes && share > (sizeof(T) == 4 ? single[n - 1] : twice[n - 1])) ++n;
  return n;
}

// How far the noise below and above an element counts, in scales: of n elements together less than
// the accuracy of the type lies behind.
struct Window {
  double below, above;
};
template <class T, class L>
TS_HD Window window(L, int64_t n) {
  const PanelRule rule = L::template panels<T>();
  if (rule.reach == Reach::edge) return {1, 1};
  if (rule.reach == Reach::infinite) return {HUGE_VAL, HUGE_VAL};
  const double tail = (sizeof(T) == 4 ? 2e-8 : 1e-12) / static_cast<double>(n);
  return {-L::draw(Uniform<double>{tail, false}).noise, L::draw(Uniform<double>{tail, true}).noise};
}

// The finite elements of a row in rising order.
struct Axis {
  int64_t n;
  double* x;
  double* scale;
  double* rate;   // 1 / scale
  double* kinks;  // [rule.kinks * n], rising
  // What lay_cones fills, [n] each: where the windows of this and all later elements begin; the least
  // of all cones over each element, and how it grows.
  double* left;
  double* width;
  double* growth;
};

// An axis of n elements in memory for `room` of them, axis_size(room) numbers.
TS_HD int64_t axis_size(int64_t room) {
  constexpr int64_t most_kinks = 3;
  return (6 + most_kinks) * room;
}
TS_HD Axis make_axis(int64_t n, int64_t room, double* memory) {
  return {n,
          memory,
          memory + room,
          memory + 2 * room,
          memory + 6 * room,
          memory + 3 * room,
          memory + 4 * room,
          memory + 5 * room};
}

// How many elements lie within two scales of element j, or `enough`, where more make no difference.
TS_HD int64_t neighbors_of(const Axis& axis, int64_t j, int64_t enough) {
  const double low = axis.x[j] - 2 * axis.scale[j], high = axis.x[j] + 2 * axis.scale[j];
  int64_t first = j, last = j + 1;
  while (first > 0 && axis.x[first - 1] > low && last - first < enough) --first;
  while (last < axis.n && axis.x[last] < high && last - first < enough) ++last;
  return last - first;
}

// By how much m neighbours narrow the cones.
TS_HD double crowding_factor(Crowding crowding, const PanelRule& rule, double m) {
  const double full = 1 / sqrt(1 + m / rule.crowd);
  return crowding == Crowding::full ? full : most_of(full, 0.4);
}

// Where a panel from a ends that has a root of the density at an end, or none, and no other root
// within a share of its width. The next root is that number `kink`; otherwise the panel may end at b.
TS_HD double beside_roots(const Axis& axis, int64_t kinks, int64_t kink, double a, double b) {
  constexpr double ratio = 2, negligible = 1e-9;
  const double next = axis.kinks[kink], none = HUGE_VAL;
  // The root before, not that at a itself.
  int64_t k = kink - 1;
  while (k >= 0 && a - axis.kinks[k] <= negligible * (next - a)) --k;
  const double before = k >= 0 ? axis.kinks[k] : -none;
  for (k = kink + 1; k < kinks && axis.kinks[k] - next <= negligible * (next - a);) ++k;
  const double behind = k < kinks ? axis.kinks[k] : none;
  b = least_of(b, a + ratio * (a - before));
  if (next <= b && next - a <= ratio * (behind - next)) return next;
  return least_of(b, (a + ratio * next) / (1 + ratio));
}

// Lays cones over elements [first, last), between which no gap is empty.
TS_HD void lay_cones_over(const Axis& axis, const PanelRule& rule, Crowding crowding,
                          int64_t first, int64_t last) {
  const int64_t enough = crowding == Crowding::full ? axis.n : 64;
  double least = 1;
  for (int64_t j = first; j < last; ++j) {
    const double factor =
        crowding == Crowding::none
            ? 1
            : crowding_factor(crowding, rule, static_cast<double>(neighbors_of(axis, j, enough)));
    axis.width[j] = rule.width * axis.scale[j] * factor;
    least = least_of(least, factor);
  }
  // The least of all cones over each element, so that later only neighbours need to be looked at.
  const double growth = rule.growth * least;
  for (int64_t j = first; j < last; ++j) {
    axis.growth[j] = growth;
    if (j > first)
      axis.width[j] =
          least_of(axis.width[j], axis.width[j - 1] + growth * (axis.x[j] - axis.x[j - 1]));
  }
  for (int64_t j = last - 2; j >= first; --j)
    axis.width[j] =
        least_of(axis.width[j], axis.width[j + 1] + growth * (axis.x[j + 1] - axis.x[j]));
}

// The elements from `first` on up to the next gap that no noise reaches: returns their end, and how far
// their noise reaches.
TS_HD int64_t stretch_end(const Axis& axis, const Window& window, int64_t first, double* reach) {
  double right = -HUGE_VAL;
  int64_t j = first;
  do {
    right = most_of(right, axis.x[j] + window.above * axis.scale[j]);
    ++j;
  } while (j < axis.n && axis.left[j] <= right);
  *reach = right;
  return j;
}

// Fills what the panels of a row are cut by.
TS_HD void lay_cones(const Axis& axis, const PanelRule& rule, const Window& window,
                     Crowding crowding) {
  double left = HUGE_VAL, reach;
  for (int64_t j = axis.n - 1; j >= 0; --j) {
    left = least_of(left, axis.x[j] - window.below * axis.scale[j]);
    axis.left[j] = left;
  }
  for (int64_t first = 0; first < axis.n;) {
    const int64_t last = stretch_end(axis, window, first, &reach);
    lay_cones_over(axis, rule, crowding, first, last);
    first = last;
  }
}

// The panels of a row in rising order, after lay_cones.
class PanelWalk {
 public:
  TS_HD PanelWalk(const Axis& axis, const PanelRule& rule, const Window& window)
      : axis_(axis), rule_(rule), window_(window) {}

  // False behind the last panel.
  template <class T>
  TS_HD bool next(Panel* panel) {
    if (a_ < end_) {
      cut<T>(panel);
      return true;
    }
    if (tail_ > 0) {  // on to infinity
      *panel = Panel{axis_.x[last_ - 1], tail_, kPanelNodes, false, true};
      tail_ = 0;
      return true;
    }
    if (last_ == axis_.n) return false;
    first_ = j_ = last_;
    last_ = stretch_end(axis_, window_, first_, &end_);
    a_ = axis_.left[first_];
    if (rule_.reach != Reach::infinite) {
      cut<T>(panel);
      return true;
    }
    tail_ = axis_.x[last_ - 1] - axis_.x[first_];
    for (int64_t j = first_; j < last_; ++j) tail_ = most_of(tail_, axis_.scale[j]);
    tail_ *= rule_.growth / axis_.growth[first_];
    a_ = axis_.x[first_] - tail_;
    end_ = axis_.x[last_ - 1] + tail_;
    *panel = Panel{axis_.x[first_], -tail_, kPanelNodes, false, true};
    return true;
  }

 private:
  // The panel that begins at a.
  template <class T>
  TS_HD void cut(Panel* panel) {
    const double a = a_, growth = axis_.growth[first_];
    while (j_ < last_ && axis_.x[j_] <= a) ++j_;
    double b = HUGE_VAL;
    if (j_ > first_) b = a + axis_.width[j_ - 1] + growth * (a - axis_.x[j_ - 1]);
    for (int64_t k = j_; k < last_; ++k) {
      const double within = a + axis_.width[k];
      b = least_of(
          b, within >= axis_.x[k] ? within : (within + growth * axis_.x[k]) / (1 + growth));
      if (axis_.x[k] >= b) break;
    }
    const double widest = b - a;
    const int64_t kinks = rule_.kinks * axis_.n;
    while (kink_ < kinks && axis_.kinks[kink_] <= a) ++kink_;
    bool roots = false;
    if (kink_ < kinks && rule_.roots) {
      b = beside_roots(axis_, kinks, kink_, a, b);
      roots = b == axis_.kinks[kink_] || (kink_ > 0 && axis_.kinks[kink_ - 1] == a);
    } else if (kink_ < kinks) {
      b = least_of(b, axis_.kinks[kink_]);
    }
    b = least_of(b, end_);
    if (!(b > a)) b = kink_ < kinks ? least_of(axis_.kinks[kink_], end_) : end_;  // too short to tell
    // A root at an end, or half a width away, needs nodes for itself.
    const int least = !rule_.roots ? 1 : sizeof(T) == 4 ? (roots ? 10 : 6) : (roots ? 14 : 10);
    *panel = Panel{a, b - a, panel_nodes<T>((b - a) / widest, least), roots, false};
    a_ = b;
  }

  const Axis& axis_;
  const PanelRule& rule_;
  const Window& window_;
  int64_t first_ = 0, last_ = 0;   // the elements of the stretch
  int64_t j_ = 0;                  // the first of them beyond a
  int64_t kink_ = 0;               // the first kink beyond a
  double a_ = 0, end_ = 0, tail_ = 0;
};

}  // namespace torchsmooth
