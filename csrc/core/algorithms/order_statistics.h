// What sorting a row of independent noisy elements gives on average, without samples. Given that
// element i lands at t, the number of others below t is Poisson-binomial: each is there with the
// probability p_j = F((t - x_j) / scale_j), independently. So the expected permutation matrix is
//
//   P[k, i] = integral of f_i(t) c_i[k](t) dt,   c_i the law of the count without i,
//
// and likewise order statistics, ranks, and the extremes. (Taylor, Guiver, Robertson and Minka,
// "SoftRank", WSDM 2008, have the recursion for the count; given t it is exact.)
//
// All elements share the nodes of their row (nodes.h). At a node b is the law of the count of all
// elements, a polynomial product of q_j + p_j z, and c_i is b divided by one factor: from the low
// end where p < 1/2, from the high end elsewhere, so that errors shrink from coefficient to
// coefficient. Elements whose noise does not reach a node are below or above it with certainty.
//
// Gradients: let G be the upstream gradient, L(t) = sum_i f_i <G_i, c_i>. Element j enters L by its
// own density, as t moves with it, and by p_j in the counts of the others. With l_i = the adjoint
// of the division by factor i, applied to f_i G_i, B = sum_i l_i, and b' = db/dt, both together are
//
//   H_j = <l_j, b'> - f_j <B, (z - 1) c_j>,   dL/dx_j = int H_j dt,   dL/dscale_j = int e_j H_j dt
//
// where e_j is the noise (t - x_j) / scale_j. The H_j sum to 0, whatever the node.
//
// Everything is written for V, which holds as many nodes as a thread has lanes: a number on a GPU,
// a vector on a CPU. `Lanes` says how: Value (T), V, kOwn (lanes of V), kCount (nodes that are
// evaluated together, by all threads that share them), kStride (between the cells of an array of
// this thread), lane, put (a node into a group), sum (over all nodes), low and high (of the first
// and the last node of the thread), fused (a b + c), total (of an array over elements). Threads that
// share a row do the same at the same time: what they share the one that leads() writes, between two
// calls of sync().
#pragma once

#include "../nodes.h"
#include "sort.h"

namespace torchsmooth {

// An array over elements or counts, with one V in each cell.
template <class Lanes>
struct Cells {
  using V = typename Lanes::V;
  V* p;
  TS_HD V& operator[](int64_t k) const { return p[k * Lanes::kStride]; }
};

// Hands out scratch memory: count cells of every thread.
template <class Lanes>
struct Shelf {
  using V = typename Lanes::V;
  V* next;
  TS_HD Cells<Lanes> cells(int64_t count) {
    const Cells<Lanes> taken{next};
    next += count * Lanes::kStride;
    return taken;
  }
};

// A group of nodes in rising order, and the elements whose noise reaches them.
template <class Lanes>
struct NodeGroup {
  using V = typename Lanes::V;
  using T = typename Lanes::Value;

  double origin[Lanes::kOwn];  // t = origin + offset, see Panel
  double offset[Lanes::kOwn];
  double weight[Lanes::kOwn];
  V w;             // the weights as V
  int64_t below;   // how many elements are certainly below
  int64_t active;  // how many may be on either side
  int32_t* element;  // [n]: the active ones, in rising order
  int32_t* slot;     // [n]: where an element stands among them, or -1
  Cells<Lanes> p, q, f, noise;  // [n]: of the active ones: P(below t), P(above t), density, noise
  Cells<Lanes> b;               // [n + 1], see above

  static TS_HD int64_t cells(int64_t n) { return 5 * n + 1; }
  static TS_HD int64_t indices(int64_t n) { return 2 * n; }
  NodeGroup() = default;
  TS_HD NodeGroup(Shelf<Lanes>& shelf, int64_t n, int32_t* indices)
      : element(indices),
        slot(indices + n),
        p(shelf.cells(n)),
        q(shelf.cells(n)),
        f(shelf.cells(n)),
        noise(shelf.cells(n)),
        b(shelf.cells(n + 1)) {}

  TS_HD V density(int64_t a) const { return f[a] * w; }  // with the weight of the node
  TS_HD V distance(double from) const {                   // of the nodes
    V d;
    for (int l = 0; l < Lanes::kOwn; ++l) Lanes::lane(d, l) = static_cast<T>(origin[l] - from + offset[l]);
    return d;
  }

  // Evaluates the law for the elements that reach the nodes, which lie in [low, high].
  TS_HD_CALLED void evaluate(Law law, const Window& window, const Axis& axis, double low, double high) {
    for (int l = 0; l < Lanes::kOwn; ++l) Lanes::lane(w, l) = static_cast<T>(weight[l]);
    below = active = 0;
    Lanes::sync();
    for (int64_t j = 0; j < axis.n; ++j) {
      int32_t place = -1;
      if (axis.x[j] + window.above * axis.scale[j] < low) {
        ++below;
      } else if (axis.x[j] - window.below * axis.scale[j] <= high) {
        place = static_cast<int32_t>(active++);
        if (Lanes::leads()) element[place] = static_cast<int32_t>(j);
      }
      if (Lanes::leads()) slot[j] = place;
    }
    Lanes::sync();
    for (int64_t a = 0; a < active; ++a) {
      const double x = axis.x[element[a]], inverse = axis.rate[element[a]];
      for (int l = 0; l < Lanes::kOwn; ++l)
        Lanes::lane(noise[a], l) = static_cast<T>((origin[l] - x + offset[l]) * inverse);
    }
    with_law(law, [&](auto l) { evaluate_law(l, axis); });
  }

 private:
  template <class L>
  TS_HD void evaluate_law(L, const Axis& axis) {
    for (int64_t a = 0; a < active; ++a) {
      const T inverse = static_cast<T>(axis.rate[element[a]]);
      TS_LANES
      for (int l = 0; l < Lanes::kOwn; ++l) {
        const Tails<T> tails = L::tails(Lanes::lane(noise[a], l));
        Lanes::lane(p[a], l) = tails.below;
        Lanes::lane(q[a], l) = tails.above;
        Lanes::lane(f[a], l) = tails.density * inverse;
      }
    }
  }
};

// Fills groups with the nodes of all panels, and calls take(count) whenever `capacity` of them are
// ready, and for the rest.
template <class Lanes, class Take>
TS_HD void for_each_group(Law law, const Axis& axis, const Window& window, Crowding crowding,
                          const NodeTable& table, NodeGroup<Lanes>* groups, int capacity,
                          Take&& take) {
  using T = typename Lanes::Value;
  PanelRule rule{};
  with_law(law, [&](auto l) { rule = decltype(l)::template panels<T>(); });
  Lanes::sync();
  if (Lanes::leads()) lay_cones(axis, rule, window, crowding);
  Lanes::sync();
  PanelWalk walk(axis, rule, window);
  Panel panel{};
  int used = 0;  // nodes of the panel
  double origin = 0;
  for (bool more = true; more;) {
    int ready = 0;
    while (ready < capacity && more) {
      double low = 0, high = 0, offset = 0, weight;
      int filled = 0;
      while (filled < Lanes::kCount && more) {
        if (used == panel.count) {
          more = walk.template next<T>(&panel);
          used = 0;
          continue;
        }
        panel.node(table, used++, &offset, &weight);
        high = panel.origin + offset;
        if (filled == 0) low = high;
        Lanes::put(groups[ready], filled++, origin = panel.origin, offset, weight);
      }
      if (filled == 0) break;
      while (filled < Lanes::kCount) Lanes::put(groups[ready], filled++, origin, offset, 0.0);
      groups[ready++].evaluate(law, window, axis, low, high);
    }
    if (ready > 0) take(ready);
  }
}

// The factors q + p z are 1 at z = 1 only to rounding, and n of them together would be off n times as
// much: what b, a law, must be divided by to sum to 1.
template <class Lanes>
TS_HD void normalize(const NodeGroup<Lanes>& group, Cells<Lanes> slope, bool with_slope) {
  using V = typename Lanes::V;
  V sum{};
  for (int64_t k = 0; k <= group.active; ++k) sum += group.b[k];
  const V by = (V{} + typename Lanes::Value(1)) / sum;
  for (int64_t k = 0; k <= group.active; ++k) {
    group.b[k] = group.b[k] * by;
    if (with_slope) slope[k] = slope[k] * by;
  }
}

// b: the law of the number of active elements below, [active + 1].
template <class Lanes>
TS_HD void count_all(const NodeGroup<Lanes>& group) {
  using V = typename Lanes::V;
  using T = typename Lanes::Value;
  const Cells<Lanes> b = group.b;
  b[0] = V{} + T(1);
  for (int64_t a = 0; a < group.active; ++a) {
    const V p = group.p[a], q = group.q[a];
    V here = b[a];
    b[a + 1] = here * p;
    for (int64_t k = a; k > 0; --k) {
      const V low = b[k - 1];
      b[k] = Lanes::fused(low, p, here * q);
      here = low;
    }
    b[0] = here * q;
  }
  normalize(group, b, false);
}

// The same, and its derivative in t.
template <class Lanes>
TS_HD void count_all_with_slope(const NodeGroup<Lanes>& group, Cells<Lanes> slope) {
  using V = typename Lanes::V;
  using T = typename Lanes::Value;
  const Cells<Lanes> b = group.b;
  b[0] = V{} + T(1);
  slope[0] = V{};
  for (int64_t a = 0; a < group.active; ++a) {
    const V p = group.p[a], q = group.q[a], f = group.f[a];
    V here = b[a], rising = slope[a];
    b[a + 1] = here * p;
    slope[a + 1] = Lanes::fused(rising, p, here * f);
    for (int64_t k = a; k > 0; --k) {
      const V low = b[k - 1], low_rising = slope[k - 1];
      slope[k] = Lanes::fused(low_rising, p, Lanes::fused(low - here, f, rising * q));
      b[k] = Lanes::fused(low, p, here * q);
      here = low;
      rising = low_rising;
    }
    slope[0] = rising * q - here * f;
    b[0] = here * q;
  }
  normalize(group, slope, true);
}

// Divides out an active element's factor. Its nodes with p < 1/2 are divided from the low end, by
// ascending(ratio, factor), the others from the high end, by descending(ratio, factor); the
// recursion has the ratio, and the quotient is its result times the factor, which is 0 for the
// nodes of the other kind.
template <class Lanes, class Ascending, class Descending>
TS_HD void divide_out(const NodeGroup<Lanes>& group, int64_t a, Ascending&& ascending,
                      Descending&& descending) {
  using V = typename Lanes::V;
  using T = typename Lanes::Value;
  const V p = group.p[a], q = group.q[a], none = V{}, one = none + T(1), half = none + T(0.5);
  if (Lanes::low(p) < T(0.5)) {
    const V factor = p < half ? one / (p < half ? q : one) : none;
    ascending(p * factor, factor);
  }
  if (!(Lanes::high(p) < T(0.5))) {
    const V factor = p < half ? none : one / (p < half ? one : p);
    descending(q * factor, factor);
  }
}

// Calls start(factor), then take(k, c) for the coefficients of the quotient over this factor; twice
// where nodes differ in the end from which they are divided.
template <class Lanes, class Start, class Take>
TS_HD void for_each_quotient(const NodeGroup<Lanes>& group, int64_t a, Start&& start,
                             Take&& take) {
  using V = typename Lanes::V;
  const int64_t m = group.active;
  divide_out(
      group, a,
      [&](V ratio, V factor) {
        start(factor);
        V c = V{};
        for (int64_t k = 0; k < m; ++k) {
          c = Lanes::fused(-ratio, c, group.b[k]);
          take(k, c);
        }
      },
      [&](V ratio, V factor) {
        start(factor);
        V c = V{};
        for (int64_t k = m - 1; k >= 0; --k) {
          c = Lanes::fused(-ratio, c, group.b[k + 1]);
          take(k, c);
        }
      });
}

// The inner product of the quotient with g(k).
template <class Lanes, class G>
TS_HD typename Lanes::V quotient_product(const NodeGroup<Lanes>& group, int64_t a, G&& g) {
  using V = typename Lanes::V;
  V total = V{}, sum = V{}, by = V{};
  for_each_quotient(
      group, a,
      [&](V factor) {
        total = Lanes::fused(sum, by, total);
        sum = V{};
        by = factor;
      },
      [&](int64_t k, V c) { sum = Lanes::fused(c, g(k), sum); });
  return Lanes::fused(sum, by, total);
}

// A row, and what of it is wanted. Positions count the finite elements from the lowest.
struct Contest {
  Law law;
  Window window;
  Axis axis;
  int64_t first, last;  // the positions that are wanted

  TS_HD bool only_lowest() const { return first == 0 && last == 1; }
  TS_HD bool only_highest() const { return first == axis.n - 1 && last == axis.n; }
  TS_HD bool only_extreme() const { return only_lowest() || only_highest(); }
};

// A row in its order, and which positions of it are wanted. Elements at -inf come first and those at
// inf last, whatever the noise, each among themselves in the order of their indices; the finite ones
// between them are the contest.
struct Standing {
  int64_t lows, finite, highs;
  bool descending;
  int64_t first, last;  // the positions that are wanted, of all elements

  // Of what stands at a place of the rising order.
  TS_HD int64_t position(int64_t place) const {
    if (!descending) return place;
    if (place < lows) return finite + highs + place;
    if (place < lows + finite) return highs + lows + finite - 1 - place;
    return place - lows - finite;
  }
  TS_HD bool wanted(int64_t position) const { return first <= position && position < last; }
  // Of the position of a finite element, from `first`.
  TS_HD int64_t row(int64_t finite_position) const {
    return position(lows + finite_position) - first;
  }
  // The wanted positions of finite elements, counted from the lowest of them: [begin, end).
  TS_HD int64_t begin() const { return within(descending ? highs + finite - last : first - lows); }
  TS_HD int64_t end() const { return within(descending ? highs + finite - first : last - lows); }

 private:
  TS_HD int64_t within(int64_t position) const {
    return position < 0 ? 0 : position > finite ? finite : position;
  }
};

// Fills the axis from the finite elements: element(j) and scale(j) are those at place j among them.
// Places are counted from the middle one, in units near the largest scale, which is returned, so that
// no product leaves the range of the type. Distances of more than 2^40 scales are infinite: the scale
// is raised instead, so that a double tells panels apart.
template <class Element, class Scale>
TS_HD double fill_axis(const Axis& axis, Element&& element, Scale&& scale) {
  if (axis.n == 0) return 1;
  const double origin = element(axis.n / 2), spread = element(axis.n - 1) - element(0);
  const double least = spread * 9.094947017729282e-13;
  double largest = least;
  for (int64_t j = 0; j < axis.n; ++j) largest = most_of(largest, scale(j));
  int exponent;
  frexp(largest, &exponent);
  const double unit = ldexp(1.0, exponent), rate = ldexp(1.0, -exponent);
  for (int64_t j = 0; j < axis.n; ++j) {
    axis.x[j] = (element(j) - origin) * rate;
    axis.scale[j] = most_of(scale(j), least) * rate;
    axis.rate[j] = 1 / axis.scale[j];
  }
  return unit;
}

// Writes where the densities have kinks, element by element: to be sorted if there are several.
TS_HD void fill_kinks(const PanelRule& rule, const Axis& axis) {
  double* kink = axis.kinks;
  for (int64_t j = 0; j < axis.n; ++j) {
    if (rule.kinks & 1) *kink++ = axis.x[j];
    if (rule.kinks & 2) {
      *kink++ = axis.x[j] - axis.scale[j];
      *kink++ = axis.x[j] + axis.scale[j];
    }
  }
}

// Nodes, and memory for what depends on them.
template <class Lanes>
struct Quadrature {
  const NodeTable& table;
  NodeGroup<Lanes>* groups;
  int capacity;
  Shelf<Lanes> shelf;  // of scratch_cells(n)

  static TS_HD int64_t scratch_cells(int64_t n) { return 8 * (n + 1); }

  template <class Take>
  TS_HD void for_each_group(const Contest& contest, Crowding crowding, Take&& take) const {
    torchsmooth::for_each_group<Lanes>(
        contest.law, contest.axis, contest.window, crowding, table, groups, capacity,
        [&](int count) {
          for (int g = 0; g < count; ++g) take(groups[g]);
        });
  }
};

// Sums over the nodes of what each element gets at them: in lanes as long as there are nodes.
template <class Lanes>
struct ElementSums {
  using V = typename Lanes::V;
  Cells<Lanes> sums;
  int64_t n;
  TS_HD ElementSums(Shelf<Lanes>& shelf, int64_t n) : sums(shelf.cells(n)), n(n) {
    for (int64_t i = 0; i < n; ++i) sums[i] = V{};
  }
  TS_HD void add(int64_t element, V value) { sums[element] += value; }
  TS_HD typename Lanes::Value total(int64_t element) const { return Lanes::sum(sums[element]); }
};

// Gradients in the elements and their scales, from H_j at each node.
template <class Lanes>
struct Gradients {
  using V = typename Lanes::V;
  ElementSums<Lanes> x, scale;
  TS_HD Gradients(Shelf<Lanes>& shelf, int64_t n) : x(shelf, n), scale(shelf, n) {}
  TS_HD void add(const NodeGroup<Lanes>& group, int64_t a, V gradient) {
    x.add(group.element[a], gradient);
    scale.add(group.element[a], gradient * group.noise[a]);
  }
  template <class Add>
  TS_HD void finish(Add&& add) const {
    for (int64_t i = 0; i < x.n; ++i) add(i, x.total(i), scale.total(i));
  }
};

// Sums up the expected permutation matrix: add(position, element, probability).
template <class Lanes, class Add>
TS_HD void expect_matrix(const Contest& contest, Quadrature<Lanes> quadrature, Add&& add) {
  using V = typename Lanes::V;
  const Cells<Lanes> sums = quadrature.shelf.cells(contest.axis.n);  // by position
  const auto take = [&](int count) {
    for (int g = 0; g < count; ++g) count_all(quadrature.groups[g]);
    for (int64_t i = 0; i < contest.axis.n; ++i) {
      int64_t from = contest.last, to = contest.first;
      for (int g = 0; g < count; ++g) {
        const NodeGroup<Lanes>& group = quadrature.groups[g];
        if (group.slot[i] < 0) continue;
        from = group.below < from ? group.below : from;
        to = group.below + group.active > to ? group.below + group.active : to;
      }
      from = from < contest.first ? contest.first : from;
      to = to > contest.last ? contest.last : to;
      if (from >= to) continue;
      for (int64_t k = from; k < to; ++k) sums[k] = V{};
      for (int g = 0; g < count; ++g) {
        const NodeGroup<Lanes>& group = quadrature.groups[g];
        if (group.slot[i] < 0) continue;
        const int64_t a = group.slot[i];
        const V density = group.density(a);
        V by = V{};
        for_each_quotient(
            group, a, [&](V factor) { by = density * factor; },
            [&](int64_t k, V c) {
              const int64_t position = group.below + k;
              if (position >= from && position < to)
                sums[position] = Lanes::fused(by, c, sums[position]);
            });
      }
      for (int64_t k = from; k < to; ++k) add(k, i, Lanes::sum(sums[k]));
    }
  };
  for_each_group<Lanes>(contest.law, contest.axis, contest.window, Crowding::full, quadrature.table,
                        quadrature.groups, quadrature.capacity, take);
}

// The gradient of sum upstream(position, element) P[position, element]: add(element, in x, in
// scale).
template <class Lanes, class Upstream, class Add>
TS_HD void differentiate_matrix(const Contest& contest, Quadrature<Lanes> quadrature,
                                Upstream&& upstream, Add&& add) {
  using V = typename Lanes::V;
  const int64_t n = contest.axis.n;
  Gradients<Lanes> gradients(quadrature.shelf, n);
  const Cells<Lanes> slope = quadrature.shelf.cells(n + 1), total = quadrature.shelf.cells(n + 1),
                     own = quadrature.shelf.cells(n);
  quadrature.for_each_group(contest, Crowding::full, [&](const NodeGroup<Lanes>& group) {
    const int64_t m = group.active;
    count_all_with_slope(group, slope);
    for (int64_t k = 0; k <= m; ++k) total[k] = V{};
    for (int64_t a = 0; a < m; ++a) {
      const V density = group.density(a);
      const int64_t i = group.element[a];
      V sum = V{};
      // The adjoint of the division runs from the other end.
      divide_out(
          group, a,
          [&](V ratio, V factor) {
            const V by = density * factor;
            V adjoint = V{}, product = V{};
            for (int64_t k = m - 1; k >= 0; --k) {
              adjoint = Lanes::fused(-ratio, adjoint, V{} + upstream(group.below + k, i));
              total[k] = Lanes::fused(by, adjoint, total[k]);
              product = Lanes::fused(adjoint, slope[k], product);
            }
            sum = Lanes::fused(by, product, sum);
          },
          [&](V ratio, V factor) {
            const V by = density * factor;
            V adjoint = V{}, product = V{};
            for (int64_t k = 0; k < m; ++k) {
              adjoint = Lanes::fused(-ratio, adjoint, V{} + upstream(group.below + k, i));
              total[k + 1] = Lanes::fused(by, adjoint, total[k + 1]);
              product = Lanes::fused(adjoint, slope[k + 1], product);
            }
            sum = Lanes::fused(by, product, sum);
          });
      own[a] = sum;
    }
    for (int64_t k = 0; k < m; ++k) total[k] = total[k + 1] - total[k];
    for (int64_t a = 0; a < m; ++a) {
      const V through = quotient_product(group, a, [&](int64_t k) { return total[k]; });
      gradients.add(group, a, own[a] - group.f[a] * through);
    }
  });
  gradients.finish(add);
}

// Sums up the order statistics, counted from those of x: add(position, value).
template <class Lanes, class Add>
TS_HD void expect_values(const Contest& contest, Quadrature<Lanes> quadrature, Add&& add) {
  using V = typename Lanes::V;
  const Cells<Lanes> slope = quadrature.shelf.cells(contest.axis.n + 1);
  quadrature.for_each_group(contest, Crowding::full, [&](const NodeGroup<Lanes>& group) {
    count_all_with_slope(group, slope);
    V passed = V{};  // minus the density of the order statistic
    for (int64_t k = 0; k < group.active; ++k) {
      passed += slope[k];
      const int64_t position = group.below + k;
      if (contest.first <= position && position < contest.last)
        add(position, Lanes::sum(group.distance(contest.axis.x[position]) * -passed * group.w));
    }
  });
}

// The gradient of sum upstream(position) value[position].
template <class Lanes, class Upstream, class Add>
TS_HD void differentiate_values(const Contest& contest, Quadrature<Lanes> quadrature,
                                Upstream&& upstream, Add&& add) {
  using V = typename Lanes::V;
  Gradients<Lanes> gradients(quadrature.shelf, contest.axis.n);
  quadrature.for_each_group(contest, Crowding::full, [&](const NodeGroup<Lanes>& group) {
    count_all(group);
    for (int64_t a = 0; a < group.active; ++a) {
      const V chosen =
          quotient_product(group, a, [&](int64_t k) { return V{} + upstream(group.below + k); });
      gradients.add(group, a, group.density(a) * chosen);
    }
  });
  gradients.finish(add);
}

// Sums up how many others are below each element: add(element, number).
template <class Lanes, class Add>
TS_HD void expect_ranks(const Contest& contest, Quadrature<Lanes> quadrature, Add&& add) {
  using V = typename Lanes::V;
  ElementSums<Lanes> sums(quadrature.shelf, contest.axis.n);
  quadrature.for_each_group(contest, Crowding::none, [&](const NodeGroup<Lanes>& group) {
    const V below = Lanes::total(group.p, group.active) +
                    static_cast<typename Lanes::Value>(group.below);
    for (int64_t a = 0; a < group.active; ++a)
      sums.add(group.element[a], group.density(a) * (below - group.p[a]));
  });
  for (int64_t i = 0; i < sums.n; ++i) add(i, sums.total(i));
}

// The gradient of sum upstream(element) rank[element].
template <class Lanes, class Upstream, class Add>
TS_HD void differentiate_ranks(const Contest& contest, Quadrature<Lanes> quadrature, Upstream&& upstream,
                               Add&& add) {
  using V = typename Lanes::V;
  Gradients<Lanes> gradients(quadrature.shelf, contest.axis.n);
  const Cells<Lanes> weighted = quadrature.shelf.cells(contest.axis.n);
  quadrature.for_each_group(contest, Crowding::none, [&](const NodeGroup<Lanes>& group) {
    const int64_t m = group.active;
    for (int64_t a = 0; a < m; ++a) weighted[a] = group.f[a] * upstream(group.element[a]);
    const V all = Lanes::total(group.f, m), all_weighted = Lanes::total(weighted, m);
    for (int64_t a = 0; a < m; ++a) {
      gradients.add(group, a, group.w * (weighted[a] * all - group.f[a] * all_weighted));
    }
  });
  gradients.finish(add);
}

// Products over all active elements but one, for the probability of being the extreme. With s_j the
// probability that j is on the other side of t:
//   none[a]: product of s_j, j before a;   one[a]: sum over i before a of f_i times the product of
//   s_j, j before a, j != i;               marked[a]: the same with f_i upstream(i)
// and likewise over the elements behind.
template <class Lanes>
struct Others {
  Cells<Lanes> none, one, marked;
  TS_HD Others(Shelf<Lanes>& shelf, int64_t n)
      : none(shelf.cells(n + 1)), one(shelf.cells(n + 1)), marked(shelf.cells(n + 1)) {}

  template <class V>
  TS_HD void start(int64_t a) {
    using T = typename Lanes::Value;
    none[a] = V{} + T(1);
    one[a] = marked[a] = V{};
  }
  // From what stands at a to what stands at next, by the element with s, f and upstream mark.
  template <class V>
  TS_HD void step(int64_t a, int64_t next, V s, V f, typename Lanes::Value mark) {
    const V product = none[a], entered = f * product;
    one[next] = Lanes::fused(one[a], s, entered);
    marked[next] = Lanes::fused(marked[a], s, entered * mark);
    none[next] = product * s;
  }
};

// Calls take(group, s, before, behind) for each group of nodes at which the extreme may be; a's
// others are those at before[a] and behind[a + 1].
template <class Lanes, class Mark, class Take>
TS_HD void for_each_extreme(const Contest& contest, Quadrature<Lanes> quadrature, Mark&& mark,
                            Take&& take) {
  using V = typename Lanes::V;
  const int64_t n = contest.axis.n;
  Others<Lanes> before(quadrature.shelf, n), behind(quadrature.shelf, n);
  const bool highest = contest.only_highest();
  quadrature.for_each_group(contest, Crowding::extreme, [&](const NodeGroup<Lanes>& group) {
    const int64_t m = group.active;
    if (highest ? group.below + m < n : group.below > 0) return;
    const Cells<Lanes> s = highest ? group.p : group.q;
    before.template start<V>(0);
    for (int64_t a = 0; a < m; ++a) before.step(a, a + 1, s[a], group.f[a], mark(group.element[a]));
    behind.template start<V>(m);
    for (int64_t a = m - 1; a >= 0; --a)
      behind.step(a + 1, a, s[a], group.f[a], mark(group.element[a]));
    take(group, before, behind);
  });
}

// add(element, probability) of being the extreme.
template <class Lanes, class Add>
TS_HD void expect_extreme(const Contest& contest, Quadrature<Lanes> quadrature, Add&& add) {
  using T = typename Lanes::Value;
  ElementSums<Lanes> sums(quadrature.shelf, contest.axis.n);
  for_each_extreme(
      contest, quadrature, [](int64_t) { return T(0); },
      [&](const NodeGroup<Lanes>& group, const auto& before, const auto& behind) {
        for (int64_t a = 0; a < group.active; ++a)
          sums.add(group.element[a], group.density(a) * before.none[a] * behind.none[a + 1]);
      });
  for (int64_t i = 0; i < sums.n; ++i) add(i, sums.total(i));
}

template <class Lanes, class Upstream, class Add>
TS_HD void differentiate_extreme(const Contest& contest, Quadrature<Lanes> quadrature,
                                 Upstream&& upstream, Add&& add) {
  using V = typename Lanes::V;
  using T = typename Lanes::Value;
  const T sign = contest.only_highest() ? T(1) : T(-1);
  Gradients<Lanes> gradients(quadrature.shelf, contest.axis.n);
  for_each_extreme(
      contest, quadrature, upstream,
      [&](const NodeGroup<Lanes>& group, const auto& before, const auto& behind) {
        for (int64_t a = 0; a < group.active; ++a) {
          const V product = before.none[a], rest = behind.none[a + 1];
          const V one = Lanes::fused(before.one[a], rest, product * behind.one[a + 1]);
          const V marked = Lanes::fused(before.marked[a], rest, product * behind.marked[a + 1]);
          const T mine = sign * upstream(group.element[a]);
          gradients.add(group, a, group.density(a) * (one * mine - marked * sign));
        }
      });
  gradients.finish(add);
}

// The value of the extreme, counted from that of x.
template <class Lanes, class Add>
TS_HD void expect_extreme_value(const Contest& contest, Quadrature<Lanes> quadrature, Add&& add) {
  using T = typename Lanes::Value;
  for_each_extreme(
      contest, quadrature, [](int64_t) { return T(0); },
      [&](const NodeGroup<Lanes>& group, const auto& before, const auto&) {
        add(contest.first, Lanes::sum(group.distance(contest.axis.x[contest.first]) *
                                      before.one[group.active] * group.w));
      });
}

template <class Lanes, class Add>
TS_HD void differentiate_extreme_value(const Contest& contest, Quadrature<Lanes> quadrature,
                                       typename Lanes::Value upstream, Add&& add) {
  using T = typename Lanes::Value;
  Gradients<Lanes> gradients(quadrature.shelf, contest.axis.n);
  for_each_extreme(
      contest, quadrature, [](int64_t) { return T(0); },
      [&](const NodeGroup<Lanes>& group, const auto& before, const auto& behind) {
        for (int64_t a = 0; a < group.active; ++a)
          gradients.add(group, a,
                        group.density(a) * before.none[a] * behind.none[a + 1] * upstream);
      });
  gradients.finish(add);
}

// What is wanted of a contest: sums up add(position, element, value), with a position or an element
// of 0 where the output has none.
template <class Lanes, class Add>
TS_HD void expect(const Contest& contest, SortOutput output, Quadrature<Lanes> quadrature,
                  Add&& add) {
  using T = typename Lanes::Value;
  if (contest.first >= contest.last) return;
  switch (output) {
    case SortOutput::matrix:
      if (contest.only_extreme()) {
        expect_extreme(contest, quadrature, [&](int64_t i, T p) { add(contest.first, i, p); });
      } else {
        expect_matrix(contest, quadrature, add);
      }
      break;
    case SortOutput::values:
      if (contest.only_extreme()) {
        expect_extreme_value(contest, quadrature, [&](int64_t k, T v) { add(k, 0, v); });
      } else {
        expect_values(contest, quadrature, [&](int64_t k, T v) { add(k, 0, v); });
      }
      break;
    case SortOutput::ranks:
      expect_ranks(contest, quadrature, [&](int64_t i, T v) { add(0, i, v); });
      break;
  }
}

// The gradient of sum upstream(position, element) times what `expect` sums up: add(element, in x, in
// scale).
template <class Lanes, class Upstream, class Add>
TS_HD void differentiate(const Contest& contest, SortOutput output, Quadrature<Lanes> quadrature,
                         Upstream&& upstream, Add&& add) {
  if (contest.first >= contest.last) return;
  const int64_t extreme = contest.first;
  switch (output) {
    case SortOutput::matrix:
      if (contest.only_extreme()) {
        differentiate_extreme(
            contest, quadrature, [&](int64_t i) { return upstream(extreme, i); }, add);
      } else {
        differentiate_matrix(contest, quadrature, upstream, add);
      }
      break;
    case SortOutput::values:
      if (contest.only_extreme()) {
        differentiate_extreme_value(contest, quadrature, upstream(extreme, 0), add);
      } else {
        differentiate_values(
            contest, quadrature, [&](int64_t k) { return upstream(k, 0); }, add);
      }
      break;
    case SortOutput::ranks:
      differentiate_ranks(contest, quadrature, [&](int64_t i) { return upstream(0, i); }, add);
      break;
  }
}

}  // namespace torchsmooth
