#pragma once

#include "../../core/algorithms/raster.h"
#include "block.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

// Vectors for the templates of core/, whose arguments can carry no alignment of their own.
template <class T>
struct LanesOf {
  typedef T type __attribute__((vector_size(kQuads * sizeof(T))));
};
template <class T>
using Lanes = typename LanesOf<T>::type;

template <class T>
TS_HD bool any(const Mask<T>& mask) {
  uint64_t parts[sizeof(mask) / 8], all = 0;
  __builtin_memcpy(parts, &mask, sizeof(mask));
  for (uint64_t part : parts) all |= part;
  return all != 0;
}

// low_bits[c]: the lowest c bits.
struct LowBits {
  uint64_t bits[65];
  constexpr LowBits() : bits{} {
    for (int c = 0; c < 65; ++c) bits[c] = c < 64 ? (uint64_t(1) << c) - 1 : ~uint64_t(0);
  }
};
inline constexpr LowBits low_bits;

// The images that kQuads poses have of a scene. The lanes are the poses: of one triangle they see
// about the same, so that their loops over its rows are about as long.
template <class T>
struct Views {
  const Scene<T>& scene;
  int64_t words;  // per row of a silhouette
  Vector<T>* corners;
  uint64_t* bits;
  T* nearest;
  T* shades;
  uint8_t* special;
  Camera<double> exact[kQuads];
  Camera<Lanes<T>> camera;

  TS_HD Views(const Scene<T>& scene, const RenderScratch<T>& scratch)
      : scene(scene),
        words((scene.size + 63) / 64),
        corners(reinterpret_cast<Vector<T>*>(scratch.corners)),
        bits(scratch.bits),
        nearest(scratch.nearest),
        shades(scratch.shades),
        special(scratch.special) {}

  // Those of poses [kQuads, kPose].
  TS_HD void render(const T (&poses)[kQuads][kPose]) {
    for (int l = 0; l < kQuads; ++l) {
      exact[l] = make_camera(poses[l], scene.size);
      camera.right_x[l] = static_cast<T>(exact[l].right_x);
      camera.right_z[l] = static_cast<T>(exact[l].right_z);
      for (int k = 0; k < 3; ++k) {
        camera.down[k][l] = static_cast<T>(exact[l].down[k]);
        camera.forward[k][l] = static_cast<T>(exact[l].forward[k]);
      }
      camera.distance[l] = static_cast<T>(exact[l].distance);
    }
    project_vertices(scene, camera, corners, special);
    switch (scene.output) {
      case RenderOutput::silhouette:
        for (int64_t k = 0; k < (scene.size + 1) * kQuads * words; ++k) bits[k] = 0;
        return draw<RenderOutput::silhouette>(*this);
      case RenderOutput::depth:
        for (int64_t k = 0; k < kQuads * scene.pixels(); ++k) nearest[k] = T(0);
        return draw<RenderOutput::depth>(*this);
      case RenderOutput::lambert:
        for (int64_t k = 0; k < kQuads * scene.pixels(); ++k) nearest[k] = shades[k] = T(0);
        return draw<RenderOutput::lambert>(*this);
    }
  }

  // Calls row(first pixel, count, values) for pieces of one lane's image, where values(c) is pixel c.
  template <class F>
  TS_HD void for_each_piece(int lane, F&& piece) const {
    if (scene.output == RenderOutput::silhouette) {
      for (int64_t row = 0; row < scene.size; ++row) {
        for (int64_t word = 0; word < words; ++word) {
          const uint64_t set = bits[(row * kQuads + lane) * words + word];
          if (set == 0) continue;
          const int64_t left = scene.size - 64 * word;
          piece(row * scene.size + 64 * word, left < 64 ? left : 64,
                [set](int64_t c) __attribute__((always_inline)) {
                  return static_cast<T>(static_cast<int32_t>((set >> c) & 1));
                });
        }
      }
      return;
    }
    // Row by row, so that no sum of T grows long.
    for (int64_t row = 0; row < scene.size; ++row) {
      const int64_t first = lane * scene.pixels() + row * scene.size;
      if (scene.output == RenderOutput::depth) {
        const T* const w = nearest + first;
        piece(row * scene.size, scene.size, [w](int64_t c) __attribute__((always_inline)) {
          return w[c] > T(0) ? T(1) / w[c] : T(0);
        });
      } else {
        const T* const shade = shades + first;
        piece(row * scene.size, scene.size,
              [shade](int64_t c) __attribute__((always_inline)) { return shade[c]; });
      }
    }
  }

  // Calls run(first pixel, values) for runs of kQuads pixels, where values(l) are those of lane l's
  // image, l < count: 0 where the run goes on behind its row or the image. Runs that no silhouette
  // meets are left out.
  template <RenderOutput kOutput, class F>
  TS_HD void for_each_run(int count, F&& run) const {
    if constexpr (kOutput == RenderOutput::silhouette) {
      static_assert(kQuads == 8);
      constexpr Mask<T> bit{1, 2, 4, 8, 16, 32, 64, 128};
      for (int64_t row = 0; row < scene.size; ++row) {
        for (int64_t word = 0; word < words; ++word) {
          const int64_t stride = words;
          const uint64_t* const set = bits + row * kQuads * stride + word;
          uint64_t seen = 0;
          for (int l = 0; l < count; ++l) seen |= set[l * stride];
          for (int shift = 0; seen != 0; shift += kQuads, seen >>= kQuads) {
            if ((seen & 0xFF) == 0) continue;
            run(row * scene.size + 64 * word + shift, [=](int l) __attribute__((always_inline)) {
              const auto eight = static_cast<BitsOf<T>>((set[l * stride] >> shift) & 0xFF);
              return where<T>((eight & bit) == bit, broadcast(T(1)));
            });
          }
        }
      }
      return;
    }
    const int64_t pixels = scene.pixels();
    const T* const values = kOutput == RenderOutput::depth ? nearest : shades;
    for (int64_t first = 0; first < pixels; first += kQuads) {
      Mask<T> inside;
      for (int c = 0; c < kQuads; ++c) inside[c] = first + c < pixels ? -1 : 0;
      run(first, [=](int l) __attribute__((always_inline)) {
        const Vector<T> value = where<T>(inside, vector_at(values + l * pixels + first));
        if constexpr (kOutput == RenderOutput::lambert) return value;
        return where<T>(value > T(0), T(1) / value);
      });
    }
  }

  // Marks pixels [first, last) of a row.
  TS_HD void cover(int lane, int64_t row, int64_t first, int64_t last) {
    uint64_t* const line = bits + (row * kQuads + lane) * words;
    for (int64_t word = first / 64; 64 * word < last; ++word) {
      const int64_t from = first - 64 * word, to = last - 64 * word;
      line[word] |= low_bits.bits[to < 64 ? to : 64] & ~low_bits.bits[from > 0 ? from : 0];
    }
  }
  // The same for images with a depth.
  template <bool kShade>
  TS_HD void cover(int lane, int64_t row, const Span<T>& span, T shade) {
    const int64_t pixel = lane * scene.pixels() + row * scene.size;
    const int64_t last = static_cast<int64_t>(span.last);
    for (int64_t c = static_cast<int64_t>(span.first); c < last; ++c) {
      const T here = nearness(span, c);
      T& before = nearest[pixel + c];
      if constexpr (kShade) {
        T& light = shades[pixel + c];
        const bool seen = hides(here, shade, before, light);
        before = seen ? here : before;
        light = seen ? shade : light;
      } else {
        before = here > before ? here : before;
      }
    }
  }

 private:
  __attribute__((noinline)) static void project_vertices(const Scene<T>& scene,
                                                         const Camera<Lanes<T>>& from,
                                                         Vector<T>* corners, uint8_t* special) {
    const Camera<Lanes<T>> camera = from;
    const T offset = static_cast<T>(image_offset(scene.size));
    for (int64_t v = 0; v < scene.num_vertices; ++v) {
      const Corner<Lanes<T>> corner = project(camera, scene.vertices + 3 * v, offset);
      corners[3 * v] = corner.x;
      corners[3 * v + 1] = corner.y;
      corners[3 * v + 2] = corner.w;
      special[v] = any<T>(~is_plain<T>(corner, scene.size));
    }
  }

  // The triangles of which a corner is not plain in some lane.
  template <RenderOutput kOutput>
  __attribute__((noinline)) static void draw_clipped(Views& views, int64_t face, int lane, T shade) {
    const Scene<T>& scene = views.scene;
    const int32_t* const v = scene.faces + 3 * face;
    const T* const points[3] = {scene.vertices + 3 * v[0], scene.vertices + 3 * v[1],
                                scene.vertices + 3 * v[2]};
    const Camera<Lanes<T>>& all = views.camera;
    const Camera<T> camera{all.right_x[lane],
                           all.right_z[lane],
                           {all.down[0][lane], all.down[1][lane], all.down[2][lane]},
                           {all.forward[0][lane], all.forward[1][lane], all.forward[2][lane]},
                           all.distance[lane]};
    const ClippedTriangle<T> triangle(views.exact[lane], camera, points, scene.size);
    triangle.template for_each_row<kOutput != RenderOutput::silhouette>(
        [&](int row, const Span<double>& span) {
          if constexpr (kOutput == RenderOutput::silhouette) {
            views.cover(lane, row, static_cast<int64_t>(span.first),
                        static_cast<int64_t>(span.last));
          } else {
            views.template cover<kOutput == RenderOutput::lambert>(lane, row, rounded<T>(span),
                                                                   shade);
          }
        });
  }

  template <RenderOutput kOutput>
  __attribute__((noinline)) static void draw(Views& views) {
    constexpr bool kDepth = kOutput != RenderOutput::silhouette;
    using Index = BitsOf<T>;
    const Scene<T> scene = views.scene;
    const Vector<T>* const corners = views.corners;
    const uint8_t* const special = views.special;
    uint64_t* const bits = views.bits;
    const int size = scene.size;
    const bool narrow = views.words == 1;
    const Lanes<T> none{};
    for (int64_t face = 0; face < scene.num_faces; ++face) {
      const int64_t v0 = scene.faces[3 * face], v1 = scene.faces[3 * face + 1],
                    v2 = scene.faces[3 * face + 2];
      const Vector<T>* const a = corners + 3 * v0;
      const Vector<T>* const b = corners + 3 * v1;
      const Vector<T>* const c = corners + 3 * v2;
      Triangle<kDepth, T, Lanes<T>> triangle({a[0], a[1], a[2]}, {b[0], b[1], b[2]},
                                              {c[0], c[1], c[2]}, size);
      Lanes<T> shade{};
      if constexpr (kOutput == RenderOutput::lambert)
        shade = shade_of(views.camera, scene.normals + 3 * face);
      if (special[v0] | special[v1] | special[v2]) {
        const Mask<T> plain = is_plain<T>(Corner<Lanes<T>>{a[0], a[1], a[2]}, size) &
                              is_plain<T>(Corner<Lanes<T>>{b[0], b[1], b[2]}, size) &
                              is_plain<T>(Corner<Lanes<T>>{c[0], c[1], c[2]}, size);
        triangle.end = plain ? triangle.end : none;
        triangle.begin = plain ? triangle.begin : none;
        for (int l = 0; l < kQuads; ++l) {
          if (!plain[l]) draw_clipped<kOutput>(views, face, l, shade[l]);
        }
      }
      Lanes<T> row = triangle.begin;
      for (Mask<T> inside = row < triangle.end; any<T>(inside); inside = row < triangle.end) {
        const Span<Lanes<T>> span = triangle.span(row, size);
        // Lanes without this row have no span, and perhaps no numbers.
        const Mask<T> filled = inside & (span.first < span.last);
        Index first[kQuads], last[kQuads], at[kQuads];
        vector_at(first) = __builtin_convertvector(filled ? span.first : none, Mask<T>);
        vector_at(last) = __builtin_convertvector(filled ? span.last : none, Mask<T>);
        vector_at(at) = __builtin_convertvector(filled ? row : none, Mask<T>);
        if constexpr (kOutput == RenderOutput::silhouette) {
          if (narrow) {
            for (int l = 0; l < kQuads; ++l)
              bits[at[l] * kQuads + l] |= low_bits.bits[last[l]] & ~low_bits.bits[first[l]];
          } else {
            for (int l = 0; l < kQuads; ++l) {
              if (first[l] < last[l]) views.cover(l, at[l], first[l], last[l]);
            }
          }
        } else {
          for (int l = 0; l < kQuads; ++l) {
            if (first[l] < last[l])
              views.template cover<kOutput == RenderOutput::lambert>(
                  l, at[l],
                  Span<T>{span.first[l], span.last[l], span.x[l], span.w[l], span.slope[l],
                          span.least[l]},
                  shade[l]);
          }
        }
        row += T(1);
      }
    }
  }
};

template <class T>
void hard_render(const Scene<T>& scene, int64_t count, const T* poses, T* images,
                 const RenderScratch<T>& scratch) {
  Views<T> views(scene, scratch);
  for (int64_t begin = 0; begin < count; begin += kQuads) {
    const int lanes = static_cast<int>(count - begin < kQuads ? count - begin : kQuads);
    T group[kQuads][kPose];
    for (int l = 0; l < kQuads; ++l) {
      for (int k = 0; k < kPose; ++k)
        group[l][k] = poses[(begin + (l < lanes ? l : 0)) * kPose + k];
    }
    views.render(group);
    for (int l = 0; l < lanes; ++l) {
      T* const image = images + (begin + l) * scene.pixels();
      for (int64_t k = 0; k < scene.pixels(); ++k) image[k] = T(0);
      views.for_each_piece(l, [&](int64_t first, int64_t pixels, auto value) {
        for (int64_t c = 0; c < pixels; ++c) image[first + c] = value(c);
      });
    }
  }
}

// Of the samples that are rendered together, one row each: n scores and n scale weights.
template <class T>
using PoseWeights = T[kQuads][2 * kPose];

// Renders all samples of the range, at most kQuads together, and calls visit(views, count, weights).
template <class T, class F>
TS_HD void render_samples(const Noise<T>& noise, Range range, const Scene<T>& scene, const T* x,
                          const RenderScratch<T>& scratch, F&& visit) {
  Views<T> views(scene, scratch);
  for_each_block(range, [&](int64_t first_quad) {
    T y[kPose][kBlock], weight[2 * kPose][kBlock];
    const auto perturb_one = [&](int64_t j, const uint32_t(&word)[kBlock]) {
      word_weights<T>(noise, word, y[j], weight[j], weight[kPose + j]);
      const T scale = noise.scale_at(range.element, j);
      for (int t = 0; t < kBlock; ++t) y[j][t] = fused(scale, y[j][t], x[j]);
    };
    for_each_dimension(noise.points, *noise.seed, kPose, range.element, first_quad, perturb_one);
    // Slots in the order of their samples, so that those behind the end of the range are the last.
    int slots[kBlock], count = 0;
    for (int i = 0; i < kBlock; ++i) {
      const int t = i % 4 * kQuads + i / 4;
      if (block_sample(first_quad, t) < range.end) slots[count++] = t;
    }
    for (int begin = 0; begin < count; begin += kQuads) {
      T poses[kQuads][kPose];
      PoseWeights<T> weights;
      for (int l = 0; l < kQuads; ++l) {
        const int slot = slots[begin + l < count ? begin + l : begin];
        for (int k = 0; k < kPose; ++k) poses[l][k] = y[k][slot];
        for (int k = 0; k < 2 * kPose; ++k) weights[l][k] = weight[k][slot];
      }
      views.render(poses);
      visit(views, count - begin < kQuads ? count - begin : kQuads, weights);
    }
  });
}

// Adds `count` images to sums, and their products with each of kWeights weights to planes of their
// own, which are `plane` apart. What kQuads images have in one place is summed in T, and then added
// to the doubles: these are read and written once for all of them, and no sum of T grows long.
template <RenderOutput kOutput, int kWeights, class T>
__attribute__((noinline)) static void add_images(const Views<T>& views, int count,
                                                 const PoseWeights<T>& weights, double* sums) {
  const int64_t plane = render_plane(views.scene);
  const auto add = [&](int64_t first, auto&& values) __attribute__((always_inline)) {
    Vector<T> part[1 + kWeights] = {};
    for (int l = 0; l < count; ++l) {
      const Vector<T> value = values(l);
      part[0] += value;
#pragma GCC unroll 8
      for (int k = 0; k < kWeights; ++k) part[1 + k] += value * weights[l][k];
    }
#pragma GCC unroll 9
    for (int k = 0; k < 1 + kWeights; ++k)
      vector_at(sums + k * plane + first) += __builtin_convertvector(part[k], Vector<double>);
  };
  views.template for_each_run<kOutput>(count, add);
  // As a pixel that all images have: then one that is always covered has exactly this sum.
  if constexpr (kWeights > 0)
    add(views.scene.pixels(), [](int) __attribute__((always_inline)) { return broadcast(T(1)); });
}

template <int kWeights, class T>
TS_HD void add_images(const Views<T>& views, int count, const PoseWeights<T>& weights,
                      double* sums) {
  switch (views.scene.output) {
    case RenderOutput::silhouette:
      return add_images<RenderOutput::silhouette, kWeights>(views, count, weights, sums);
    case RenderOutput::depth:
      return add_images<RenderOutput::depth, kWeights>(views, count, weights, sums);
    case RenderOutput::lambert:
      return add_images<RenderOutput::lambert, kWeights>(views, count, weights, sums);
  }
}

template <class T>
void render(const Noise<T>& noise, Range range, const Scene<T>& scene, int weights, const T* x,
            double* sums, const RenderScratch<T>& scratch) {
  render_samples(noise, range, scene, x, scratch,
                 [&](const Views<T>& views, int count, const PoseWeights<T>& weight) {
                   if (weights == 0) {
                     add_images<0>(views, count, weight, sums);
                   } else if (weights == kPose) {
                     add_images<kPose>(views, count, weight, sums);
                   } else {
                     add_images<2 * kPose>(views, count, weight, sums);
                   }
                 });
}

template <class T>
void render_backward(const Noise<T>& noise, Range range, const Scene<T>& scene, bool scale,
                     const T* x, const T* grad, double baseline, double* sums,
                     const RenderScratch<T>& scratch) {
  const auto contract = [&](const Views<T>& views, int lane, const T* weight) {
    double g = -baseline;
    views.for_each_piece(lane, [&](int64_t first, int64_t pixels, auto value) {
      T part[kQuads] = {};
      int64_t c = 0;
      for (; c + kQuads <= pixels; c += kQuads) {
        for (int l = 0; l < kQuads; ++l)
          part[l] = fused(grad[first + c + l], value(c + l), part[l]);
      }
      for (; c < pixels; ++c) part[0] = fused(grad[first + c], value(c), part[0]);
      for (int l = 0; l < kQuads; ++l) g += part[l];
    });
    for (int k = 0; k < (scale ? 2 : 1) * kPose; ++k) sums[k] += g * weight[k];
  };
  render_samples(noise, range, scene, x, scratch,
                 [&](const Views<T>& views, int count, const PoseWeights<T>& weights) {
                   for (int l = 0; l < count; ++l) contract(views, l, weights[l]);
                 });
}

}  // namespace torchsmooth::TORCHSMOOTH_ISA
