#include "../render_arguments.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "samples.h"

namespace torchsmooth {
namespace {

// A scene with what is computed once for all its images.
template <class T>
struct Mesh {
  std::vector<T> normals;
  Scene<T> scene;

  Mesh(const Tensor& vertices, const Tensor& faces, int64_t size, RenderOutput output)
      : scene{output,
              static_cast<int>(size),
              vertices.size(0),
              faces.size(0),
              data<T>(vertices),
              data<int32_t>(faces),
              nullptr} {
    const int32_t* const first = scene.faces;
    STD_TORCH_CHECK(std::all_of(first, first + 3 * scene.num_faces,
                                [&](int32_t v) { return v >= 0 && v < scene.num_vertices; }),
                    "render: faces must be indices of vertices, in [0, ", scene.num_vertices, ")");
    if (output != RenderOutput::lambert) return;
    normals.resize(3 * scene.num_faces);
    for (int64_t face = 0; face < scene.num_faces; ++face) {
      const int32_t* const v = scene.faces + 3 * face;
      double normal[3];
      face_normal(scene.vertices + 3 * v[0], scene.vertices + 3 * v[1], scene.vertices + 3 * v[2],
                  normal);
      for (int k = 0; k < 3; ++k) normals[3 * face + k] = static_cast<T>(normal[k]);
    }
    scene.normals = normals.data();
  }

  // An image takes about this many nanoseconds.
  int64_t cost() const { return 10 * scene.num_faces + scene.num_vertices + scene.pixels() / 8; }
};

// Sums over samples are cut as finely as blocks of samples are: each of them takes long.
constexpr int64_t kLeastSamples = kLanes;

Tensor hard_render(Tensor pose, Tensor vertices, Tensor faces, int64_t size, std::string output) {
  const RenderOutput parsed = check_rendering(pose, vertices, faces, size, output);
  Tensor images = torch::stable::new_empty(pose, {pose.size(0), size, size});
  dispatch_floating(pose, "hard_render: pose", [&](auto type) {
    using T = decltype(type);
    const Mesh<T> mesh(vertices, faces, size, parsed);
    const T* const poses = data<T>(pose);
    T* const out = mutable_data<T>(images);
    const int64_t rows = pose.size(0), groups = (rows + kQuads - 1) / kQuads;
    parallel_tasks<T>(groups, kQuads * mesh.cost(), render_scratch(mesh.scene),
                      [&](int64_t group, T* scratch) {
                        const int64_t begin = group * kQuads;
                        kernels<T>().hard_render(mesh.scene, std::min<int64_t>(kQuads, rows - begin),
                                                 poses + begin * kPose,
                                                 out + begin * mesh.scene.pixels(), scratch);
                      });
    for (int64_t row = 0; row < rows; ++row) {
      const T* const p = poses + row * kPose;
      if (!std::all_of(p, p + kPose, [](T value) { return std::isfinite(value); }))
        fill_nan(out + row * mesh.scene.pixels(), mesh.scene.pixels());
    }
  });
  return images;
}

Tensor render(Tensor x, Tensor vertices, Tensor faces, Tensor scale, Tensor seed,
              Tensor directions, std::string law, std::string sampler, bool antithetic,
              int64_t num_samples, int64_t size, std::string output) {
  const RenderOutput parsed = check_rendering(x, vertices, faces, size, output);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "render: scale must have pose's dtype");
  const int64_t elements = x.size(0);
  Tensor mean = torch::stable::new_empty(x, {elements, size, size});
  dispatch_floating(x, "render: pose", [&](auto type) {
    using T = decltype(type);
    const Mesh<T> mesh(vertices, faces, size, parsed);
    const Samples<T> samples{make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                           num_samples, 0.0, elements, kPose),
                             data<T>(x), elements};
    T* const out = mutable_data<T>(mean);
    const int64_t pixels = mesh.scene.pixels();
    samples.template reduce<double>(
        pixels, mesh.cost(), render_scratch(mesh.scene),
        [&](Range range, double* sums, T* scratch) {
          kernels<T>().render(samples.noise, range, mesh.scene, samples.row(range.element), sums,
                              scratch);
        },
        [&](int64_t element, const double* sums) {
          T* const image = out + element * pixels;
          if (!sums) return fill_nan(image, pixels);
          for (int64_t k = 0; k < pixels; ++k) image[k] = static_cast<T>(sums[k] / num_samples);
        },
        kLeastSamples);
  });
  return mean;
}

std::tuple<Tensor, Tensor> render_backward(Tensor grad, Tensor baseline, Tensor x, Tensor vertices,
                                           Tensor faces, Tensor scale, Tensor seed,
                                           Tensor directions, std::string law, std::string sampler,
                                           bool antithetic, int64_t num_samples, int64_t size,
                                           std::string output, double factor, double pair_weight,
                                           bool scale_gradient) {
  const RenderOutput parsed = check_rendering(x, vertices, faces, size, output);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "render: scale must have pose's dtype");
  check_render_backward(grad, baseline, x, size);
  const int64_t elements = x.size(0), weights = (scale_gradient ? 2 : 1) * kPose;
  Tensor grad_x = torch::stable::new_empty(x, {elements, kPose});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? kPose : 0});
  dispatch_floating(x, "render_backward: pose", [&](auto type) {
    using T = decltype(type);
    const Mesh<T> mesh(vertices, faces, size, parsed);
    const Samples<T> samples{make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                           num_samples, pair_weight, elements, kPose),
                             data<T>(x), elements};
    const T* const upstream = data<T>(grad);
    const T* const center = data<T>(baseline);
    T* const in_x = mutable_data<T>(grad_x);
    T* const in_scale = scale_gradient ? mutable_data<T>(grad_scale) : nullptr;
    samples.template reduce<double>(
        weights, mesh.cost(), render_scratch(mesh.scene),
        [&](Range range, double* sums, T* scratch) {
          kernels<T>().render_backward(samples.noise, range, mesh.scene, scale_gradient,
                                       samples.row(range.element),
                                       upstream + range.element * mesh.scene.pixels(),
                                       center[range.element], sums, scratch);
        },
        [&](int64_t element, const double* sums) {
          for (int64_t k = 0; k < weights; ++k) {
            const int64_t j = k % kPose;
            T* const out = k < kPose ? in_x : in_scale;
            out[element * kPose + j] =
                sums ? static_cast<T>(factor / samples.noise.scale_at(element, j) * sums[k])
                     : std::numeric_limits<T>::quiet_NaN();
          }
        },
        kLeastSamples);
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("hard_render", TORCH_BOX(&torchsmooth::hard_render));
  m.impl("render", TORCH_BOX(&torchsmooth::render));
  m.impl("render_backward", TORCH_BOX(&torchsmooth::render_backward));
}
