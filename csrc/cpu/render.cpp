#include "../ops/render.h"

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

  // What the kernels work in.
  auto layout() const {
    return [this](Arena& arena) { return RenderScratch<T>::layout(arena, scene); };
  }

  // An image takes about this many nanoseconds.
  int64_t cost() const { return 10 * scene.num_faces + scene.num_vertices + scene.pixels() / 8; }
};

// Sums over samples are cut as finely as blocks of samples are: each of them takes long.
constexpr int64_t kLeastSamples = kBlock;

// The images [rows, size, size] of poses [rows, kPose].
template <class T>
void render_poses(const Mesh<T>& mesh, int64_t rows, const T* poses, T* images,
                  const Purpose& purpose) {
  parallel_tasks((rows + kQuads - 1) / kQuads, kQuads * mesh.cost(), purpose, mesh.layout(),
                 [&](int64_t group, const RenderScratch<T>& scratch, const Interrupt&) {
                   const int64_t begin = group * kQuads;
                   kernels<T>().hard_render(mesh.scene, std::min<int64_t>(kQuads, rows - begin),
                                            poses + begin * kPose,
                                            images + begin * mesh.scene.pixels(), scratch);
                 });
}

Tensor hard_render(Tensor pose, Tensor vertices, Tensor faces, int64_t size, std::string output) {
  const RenderOutput parsed = check_rendering(pose, vertices, faces, size, output);
  const Purpose purpose{"rendering", kSmallerRender};
  Tensor images = new_tensor(pose, {pose.size(0), size, size}, purpose);
  dispatch_floating(pose, "hard_render: pose", [&](auto type) {
    using T = decltype(type);
    const Mesh<T> mesh(vertices, faces, size, parsed);
    const int64_t rows = pose.size(0);
    const T* const poses = data<T>(pose);
    T* const out = mutable_data<T>(images);
    render_poses(mesh, rows, poses, out, purpose);
    for (int64_t row = 0; row < rows; ++row) {
      const T* const p = poses + row * kPose;
      if (!std::all_of(p, p + kPose, [](T value) { return std::isfinite(value); }))
        fill_nan(out + row * mesh.scene.pixels(), mesh.scene.pixels());
    }
  });
  return images;
}

// The fewest samples of a task that accumulates a Jacobian: so many that the sums of all tasks take
// no more than 32 MB. These malloc keeps for the next call; more it would get from the system every
// time, and fresh pages for a task can take as long as rendering its samples.
int64_t least_samples(int64_t elements, int64_t num_samples, int64_t sums) {
  constexpr int64_t most_sums = int64_t(1) << 22;
  const int64_t tasks = std::max<int64_t>(1, most_sums / (std::max<int64_t>(1, elements) * sums));
  return std::max(kLeastSamples, (num_samples + tasks - 1) / tasks);
}

// From the sums of one element, in planes of their own, to derivatives [pixels, kPose]: `planes`
// has those with its scores or scale weights. center: what is subtracted from each image.
template <class T, class Center>
void differentiate(const Noise<T>& noise, int64_t element, double factor, const Scene<T>& scene,
                   const double* planes, Center&& center, T* out) {
  const int64_t pixels = scene.pixels(), plane = render_plane(scene);
  for (int64_t j = 0; j < kPose; ++j) {
    const double by = factor / noise.scale_at(element, j);
    const double* const products = planes + j * plane;
    const double total = products[pixels];
    for (int64_t k = 0; k < pixels; ++k)
      out[k * kPose + j] = static_cast<T>(by * (products[k] - center(k) * total));
  }
}

std::tuple<Tensor, Tensor, Tensor> render(Tensor x, Tensor vertices, Tensor faces, Tensor scale,
                                          Tensor seed, Tensor directions, std::string law,
                                          std::string sampler, bool antithetic,
                                          int64_t num_samples, int64_t size, std::string output,
                                          std::string baseline_name, double factor,
                                          double pair_weight, std::string jacobian_name) {
  const RenderOutput parsed = check_rendering(x, vertices, faces, size, output);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "render: scale must have pose's dtype");
  const Baseline baseline = parse_baseline(baseline_name);
  const Jacobian jacobian = parse_jacobian(jacobian_name);
  const int64_t elements = x.size(0);
  const int weights = static_cast<int>(jacobian) * kPose;
  RenderResult result(x, size, jacobian);
  dispatch_floating(x, "render: pose", [&](auto type) {
    using T = decltype(type);
    const Mesh<T> mesh(vertices, faces, size, parsed);
    const Samples<T> samples(make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                           num_samples, pair_weight, elements, kPose),
                             data<T>(x), elements);
    const int64_t pixels = mesh.scene.pixels(), plane = render_plane(mesh.scene);
    T* const mean = mutable_data<T>(result.mean);
    T* const derivatives[] = {weights > 0 ? mutable_data<T>(result.jacobian_x) : nullptr,
                              weights > kPose ? mutable_data<T>(result.jacobian_scale) : nullptr};
    const int64_t sums_size = (1 + weights) * plane;
    const Purpose purpose{"the sums of images and their derivatives", kSmallerRender};
    // Until an element is done, its unperturbed image is where its mean will be.
    if (weights > 0 && baseline == Baseline::fx)
      render_poses(mesh, elements, samples.x, mean, purpose);
    samples.template reduce<double>(
        sums_size, mesh.cost(), purpose,
        mesh.layout(),
        [&](Range range, double* sums, const RenderScratch<T>& scratch) {
          kernels<T>().render(samples.noise, range, mesh.scene, weights,
                              samples.row(range.element), sums, scratch);
        },
        [&](int64_t element, const double* sums) {
          T* const image = mean + element * pixels;
          const auto center = [&](int64_t k) {
            return baseline == Baseline::mean ? sums[k] / num_samples
                   : baseline == Baseline::fx ? static_cast<double>(image[k])
                                              : 0.0;
          };
          for (int64_t d = 0; d * kPose < weights; ++d) {
            T* const out = derivatives[d] + element * pixels * kPose;
            if (!sums) {
              fill_nan(out, pixels * kPose);
            } else {
              differentiate(samples.noise, element, factor, mesh.scene,
                            sums + (1 + d * kPose) * plane, center, out);
            }
          }
          if (!sums) return fill_nan(image, pixels);
          for (int64_t k = 0; k < pixels; ++k) image[k] = static_cast<T>(sums[k] / num_samples);
        },
        weights > 0 ? least_samples(elements, num_samples, sums_size) : kLeastSamples);
  });
  return {result.mean, result.jacobian_x, result.jacobian_scale};
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
  const Purpose purpose{"the gradient of a rendering", kSmallerRender};
  Tensor grad_x = new_tensor(x, {elements, kPose}, purpose);
  Tensor grad_scale = new_tensor(x, {elements, scale_gradient ? kPose : 0}, purpose);
  dispatch_floating(x, "render_backward: pose", [&](auto type) {
    using T = decltype(type);
    const Mesh<T> mesh(vertices, faces, size, parsed);
    const Samples<T> samples(make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                           num_samples, pair_weight, elements, kPose),
                             data<T>(x), elements);
    const T* const upstream = data<T>(grad);
    const T* const center = data<T>(baseline);
    T* const in_x = mutable_data<T>(grad_x);
    T* const in_scale = scale_gradient ? mutable_data<T>(grad_scale) : nullptr;
    samples.template reduce<double>(
        weights, mesh.cost(), purpose,
        mesh.layout(),
        [&](Range range, double* sums, const RenderScratch<T>& scratch) {
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
