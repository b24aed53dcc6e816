// Rasterising triangles that a pinhole camera sees: pose -> camera -> positions of the corners in
// the image -> the spans of pixels that a triangle covers in each row.
//
// The centre of the pixel in row k and column c lies at y = k, x = c. A triangle covers, of each row
// whose centre line it meets, the centres from its left edge (included) to its right edge
// (excluded), and of two edges that meet on the line the upper one ends there: the top-left rule.
// Where an edge crosses a line is computed from the two ends of that edge alone, from the upper one
// on. So triangles that share an edge agree on it to the last bit, and no pixel is left out or taken
// twice along it.
//
// V is a number or a vector of numbers. Nothing is fused, so that all instruction sets and devices
// agree to the last bit too.
#pragma once

#include "../laws.h"
#include "../macros.h"
#include "../math.h"

namespace torchsmooth {

enum class RenderOutput : int32_t {
  silhouette,  // 1 where there is a surface
  depth,       // along the camera's axis
  lambert,     // |cosine| between the surface's normal and the camera's axis
};
// What a pixel without a surface has: 0, for all of them.

// A mesh, and what of it is rendered. All that kernels need to know.
template <class T>
struct Scene {
  RenderOutput output;
  int size;  // of the image, in rows and in columns
  int64_t num_vertices;
  int64_t num_faces;
  const T* vertices;     // [num_vertices, 3]
  const int32_t* faces;  // [num_faces, 3], each in [0, num_vertices)
  const T* normals;      // [num_faces, 3]; for lambert alone

  TS_HD int64_t pixels() const { return int64_t(size) * size; }
};

// A pose is (distance, elevation, azimuth, half field of view), angles in degrees.
constexpr int kPose = 4;
constexpr double kLeastDistance = 0.05, kLeastAngle = 0.5, kMostAngle = 85;
// What is nearer than this, measured along the camera's axis, is cut off.
constexpr double kNear = 0.01;

struct Turn {
  double sine, cosine;
};
TS_HD Turn turn(double degrees) {
  const double rest = remainder(degrees, 360.0), angle = rest < 0 ? -rest : rest;
  const bool obtuse = angle > 90;
  const double acute = obtuse ? 180 - angle : angle;
  const double s = sine(acute * (kPi / 180)), c = sine((90 - acute) * (kPi / 180));
  return {rest < 0 ? -s : s, obtuse ? -c : c};
}

// Where points are seen. Maps p to depth = p . forward + distance, x = p . right / depth + offset
// and y = p . down / depth + offset: the camera looks at the origin, so that right and down, in
// pixels at depth 1, need no offset of their own. right has no component along the vertical.
template <class V>
struct Camera {
  V right_x, right_z;
  V down[3];
  V forward[3];
  V distance;
};

TS_HD double clamp(double x, double low, double high) {
  return x > low ? (x < high ? x : high) : low;
}

template <class T>
TS_HD Camera<double> make_camera(const T* pose, int size) {
  const double distance = pose[0] > T(kLeastDistance) ? pose[0] : kLeastDistance;
  const Turn e = turn(pose[1]), a = turn(pose[2]), v = turn(clamp(pose[3], kLeastAngle, kMostAngle));
  const double pixels = 0.5 * size * v.cosine / v.sine;
  // At the poles the right-hand axis is its limit from below.
  const double right = e.cosine < 0 ? -pixels : pixels;
  return {right * a.cosine,
          right * a.sine,
          {right * e.sine * a.sine, -right * e.cosine, -right * e.sine * a.cosine},
          {-e.cosine * a.sine, -e.sine, e.cosine * a.cosine},
          distance};
}

// A corner of a triangle in the image. w: 1 / depth, which is linear in x and y.
template <class V>
struct Corner {
  V x, y, w;
};

TS_HD double image_offset(int size) { return 0.5 * (size - 1); }

template <class T, class V>
TS_HD V depth_of(const Camera<V>& camera, const T* p) {
  return p[0] * camera.forward[0] + p[1] * camera.forward[1] + p[2] * camera.forward[2] +
         camera.distance;
}
// Of a point with 1 / depth = w.
template <class T, class V>
TS_HD Corner<V> project(const Camera<V>& camera, const T* p, V w, T offset) {
  return {(p[0] * camera.right_x + p[2] * camera.right_z) * w + offset,
          (p[0] * camera.down[0] + p[1] * camera.down[1] + p[2] * camera.down[2]) * w + offset, w};
}
template <class T, class V>
TS_HD Corner<V> project(const Camera<V>& camera, const T* p, T offset) {
  const V w = T(1) / depth_of(camera, p);
  return project(camera, p, w, offset);
}

// Whether a corner lies before the near plane and so near to the image that its position is
// accurate; triangles with others are clipped.
template <class T, class V>
TS_HD auto is_plain(const Corner<V>& corner, int size) {
  const T limit = static_cast<T>(4 * size), most = static_cast<T>(1 / kNear);
  return (corner.w > T(0)) & (corner.w <= most) & (corner.x < limit) & (corner.x > -limit) &
         (corner.y < limit) & (corner.y > -limit);
}

template <class V>
TS_HD V lesser(V a, V b) {
  return a < b ? a : b;
}
template <class V>
TS_HD V greater(V a, V b) {
  return a < b ? b : a;
}

// The least integer that is not below x, for |x| < 2^22 (float) or 2^51 (double).
template <class T, class V>
TS_HD V round_up(V x) {
  constexpr T shift = sizeof(T) == 4 ? T(1.5 * (1 << 23)) : T(1.5 * (int64_t(1) << 52));
  const V nearest = (x + shift) - shift;
  const V next = nearest + T(1);
  return nearest < x ? next : nearest;
}

// A straight line down the rows: of an edge's position, or of 1 / depth along it. The edge crosses
// the rows from the first one not above its upper end to the last one above its lower end.
template <class V>
struct Line {
  V start, y, slope;

  TS_HD V at(V row) const { return start + (row - y) * slope; }
};
template <class V>
TS_HD Line<V> line(V start, V end, V y, V end_y) {
  return {start, y, (end - start) / (end_y - y)};
}

// One row of a triangle: the pixels [first, last), and 1 / depth = w + (column - x) * slope, which is
// nowhere below `least`.
template <class V>
struct Span {
  V first, last;
  V x, w, slope, least;
};

template <bool kDepth, class T, class V>
TS_HD Span<V> span_between(V x1, V w1, V x2, V w2, int size) {
  const V left = lesser(x1, x2), right = greater(x1, x2);
  Span<V> span{};
  span.first = greater(round_up<T>(left), V{} + T(0));
  span.last = lesser(round_up<T>(right), V{} + static_cast<T>(size));
  if constexpr (kDepth) {
    const V w_left = x1 < x2 ? w1 : w2, w_right = x1 < x2 ? w2 : w1;
    span.x = left;
    span.w = w_left;
    span.slope = (w_right - w_left) / (right - left);
    span.least = lesser(w1, w2);
  }
  return span;
}

// A triangle whose three corners are plain.
template <bool kDepth, class T, class V>
struct Triangle {
  V begin, end;  // rows
  V middle;      // from this row on the second short edge takes over from the first
  Line<V> whole, upper, lower;
  Line<V> w_whole, w_upper, w_lower;

  TS_HD Triangle(Corner<V> a, Corner<V> b, Corner<V> c, int size) {
    V row_a = round_up<T>(a.y), row_b = round_up<T>(b.y), row_c = round_up<T>(c.y);
    order(a, row_a, b, row_b);
    order(b, row_b, c, row_c);
    order(a, row_a, b, row_b);
    begin = greater(row_a, V{});
    middle = row_b;
    end = lesser(row_c, V{} + static_cast<T>(size));
    // Edges that cross no row have a slope that is not used, and may be no number.
    whole = line(a.x, c.x, a.y, c.y);
    upper = line(a.x, b.x, a.y, b.y);
    lower = line(b.x, c.x, b.y, c.y);
    if constexpr (kDepth) {
      w_whole = line(a.w, c.w, a.y, c.y);
      w_upper = line(a.w, b.w, a.y, b.y);
      w_lower = line(b.w, c.w, b.y, c.y);
    }
  }

  TS_HD Span<V> span(V row, int size) const {
    const auto second = row >= middle;
    const V x = second ? lower.at(row) : upper.at(row);
    if constexpr (kDepth) {
      const V w = second ? w_lower.at(row) : w_upper.at(row);
      return span_between<kDepth, T>(whole.at(row), w_whole.at(row), x, w, size);
    } else {
      return span_between<kDepth, T>(whole.at(row), V{}, x, V{}, size);
    }
  }

 private:
  static TS_HD void order(Corner<V>& a, V& row_a, Corner<V>& b, V& row_b) {
    const auto exchange = row_b < row_a;
    const Corner<V> first = a;
    a.x = exchange ? b.x : a.x;
    a.y = exchange ? b.y : a.y;
    b.x = exchange ? first.x : b.x;
    b.y = exchange ? first.y : b.y;
    if constexpr (kDepth) {
      a.w = exchange ? b.w : a.w;
      b.w = exchange ? first.w : b.w;
    }
    const V row = lesser(row_a, row_b);
    row_b = greater(row_a, row_b);
    row_a = row;
  }
};

// Any other triangle, one at a time: cut at the near plane, in double precision but for the edges
// between two plain corners, which must be those of the plain triangles on their other side.
template <class T>
struct ClippedTriangle {
  struct End {
    Corner<double> at;
    double row;
    bool plain;
  };
  End ends[4];
  int count = 0;
  int size;

  // points: the three corners in space; camera: what `exact` is in T.
  TS_HD ClippedTriangle(const Camera<double>& exact, const Camera<T>& camera,
                        const T* const (&points)[3], int size)
      : size(size) {
    double position[3][3], depth[3];
    bool plain[3], front[3];
    Corner<double> corners[3];
    for (int i = 0; i < 3; ++i) {
      for (int k = 0; k < 3; ++k) position[i][k] = points[i][k];
      depth[i] = depth_of(exact, position[i]);
      const Corner<T> corner = project(camera, points[i], static_cast<T>(image_offset(size)));
      plain[i] = is_plain<T>(corner, size);
      front[i] = plain[i] || depth[i] >= kNear;
      if (plain[i]) {
        corners[i] = {double(corner.x), double(corner.y), double(corner.w)};
      } else {
        corners[i] = project(exact, position[i], image_offset(size));
      }
    }
    for (int i = 0; i < 3; ++i) {
      const int j = i == 2 ? 0 : i + 1;
      if (front[i]) add(corners[i], plain[i]);
      if (front[i] == front[j]) continue;
      const int from = front[i] ? i : j, to = front[i] ? j : i;
      const double t = clamp((depth[from] - kNear) / (depth[from] - depth[to]), 0, 1);
      double cut[3];
      for (int k = 0; k < 3; ++k)
        cut[k] = position[from][k] + t * (position[to][k] - position[from][k]);
      // Of a long edge, the depth of the point that was found would be far from that of the plane.
      add(project(exact, cut, 1 / kNear, image_offset(size)), false);
    }
  }

  // Calls row(row, span) for each row that it covers.
  template <bool kDepth, class F>
  TS_HD void for_each_row(F&& row) const {
    if (count < 3) return;
    double begin = ends[0].row, end = begin;
    for (int i = 1; i < count; ++i) {
      begin = lesser(begin, ends[i].row);
      end = greater(end, ends[i].row);
    }
    const int first = static_cast<int>(clamp(begin, 0, size));
    const int last = static_cast<int>(clamp(end, 0, size));
    for (int k = first; k < last; ++k) {
      // Exactly two edges cross a row; to rounding there may be others, of which the outermost count.
      Corner<double> left{1e300, 0, 0}, right{-1e300, 0, 0};
      for (int i = 0; i < count; ++i) {
        const End &a = ends[i], &b = ends[i + 1 < count ? i + 1 : 0];
        const End &upper = a.row < b.row ? a : b, &lower = a.row < b.row ? b : a;
        if (!(upper.row <= k && k < lower.row)) continue;
        const double x = crossing(upper, lower, upper.at.x, lower.at.x, k);
        const double w = crossing(upper, lower, upper.at.w, lower.at.w, k);
        if (x < left.x) left = {x, 0, w};
        if (x > right.x) right = {x, 0, w};
      }
      if (!(left.x <= right.x)) continue;  // positions that overflowed are no numbers
      const Span<double> span = span_between<kDepth, double>(left.x, left.w, right.x, right.w, size);
      if (span.first < span.last) row(k, span);
    }
  }

 private:
  TS_HD void add(const Corner<double>& corner, bool plain) {
    // Rows far outside the image need not be told apart.
    const double y = clamp(corner.y, -1e9, 1e9);
    ends[count++] = {corner, round_up<double>(y), plain};
  }
  static TS_HD double crossing(const End& upper, const End& lower, double start, double end, int k) {
    if (upper.plain && lower.plain)
      return line(static_cast<T>(start), static_cast<T>(end), static_cast<T>(upper.at.y),
                  static_cast<T>(lower.at.y))
          .at(static_cast<T>(k));
    return line(start, end, upper.at.y, lower.at.y).at(k);
  }
};

// 1 / depth in a column of a span. Where edges all but meet, the slope may be no number.
template <class T>
TS_HD T nearness(const Span<T>& span, int64_t column) {
  return greater(span.least, span.w + (static_cast<T>(column) - span.x) * span.slope);
}

// Of a clipped triangle, in T. Counted from the first pixel: that is in the image, as the left edge
// need not be.
template <class T>
TS_HD Span<T> rounded(const Span<double>& span) {
  return {static_cast<T>(span.first),
          static_cast<T>(span.last),
          static_cast<T>(span.first),
          static_cast<T>(nearness(span, static_cast<int64_t>(span.first))),
          static_cast<T>(span.slope),
          static_cast<T>(span.least)};
}

// The unit normal of a face, by its corners; zero for a face without an area.
template <class T>
TS_HD void face_normal(const T* a, const T* b, const T* c, double (&normal)[3]) {
  double u[3], v[3];
  for (int k = 0; k < 3; ++k) {
    u[k] = double(b[k]) - double(a[k]);
    v[k] = double(c[k]) - double(a[k]);
  }
  for (int k = 0; k < 3; ++k) {
    const int i = k == 2 ? 0 : k + 1, j = i == 2 ? 0 : i + 1;
    normal[k] = u[i] * v[j] - u[j] * v[i];
  }
  const double square = normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2];
  const double by = square > 0 ? 1 / square_root(square) : 0;
  for (int k = 0; k < 3; ++k) normal[k] *= by;
}

// Both sides of a face are lit, by parallel light along the camera's axis.
template <class T, class V>
TS_HD V shade_of(const Camera<V>& camera, const T* normal) {
  const V cosine = normal[0] * camera.forward[0] + normal[1] * camera.forward[1] +
                   normal[2] * camera.forward[2];
  const V size = cosine > T(0) ? cosine : T(0) - cosine;  // and no zeros with a sign
  return size > T(1) ? V{} + T(1) : size;
}

// Whether what is new hides what is there. Of two faces at the same depth the brighter one is seen,
// whatever their order.
template <class T>
TS_HD bool hides(T w, T shade, T other_w, T other_shade) {
  return w > other_w || (w == other_w && shade > other_shade);
}

}  // namespace torchsmooth
