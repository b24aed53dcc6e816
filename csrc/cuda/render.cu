// Rendering: a block draws one sample after the other. Its threads share out the triangles and mark
// what they cover in one image, in shared memory where it fits.
#include <optional>
#include <tuple>

#include "../ops/render.h"
#include "finish.cuh"

namespace torchsmooth {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
// On a multiprocessor, of the kernels that draw: without the number some compilers save registers for
// more of them, and spill.
constexpr int kBlocks = 2;

// Positive numbers are ordered as their bits are.
template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using type = unsigned int;
};
template <>
struct BitsOf<double> {
  using type = unsigned long long;
};

// What the kernels know; passed by value.
template <class T>
struct RenderCall {
  Noise<T> noise;
  Scene<T> scene;
  int64_t elements;
  const T* x;                // [B, 4]
  unsigned char* workspace;  // images of the blocks, or null: they lie in shared memory
  int64_t image_bytes;
};

inline int64_t image_bytes(RenderOutput output, int64_t size, int64_t number) {
  const int64_t bytes = output == RenderOutput::silhouette ? size * ceil_div(size, 32) * 4
                        : output == RenderOutput::depth    ? size * size * number
                                                           : 2 * size * size * number;
  return ceil_div(bytes, 16) * 16;
}

// The image of a block.
template <class T>
struct Image {
  using Bits = typename BitsOf<T>::type;

  Scene<T> scene;
  int words;          // per row of a silhouette
  unsigned int* set;  // silhouettes: [size, words]
  Bits* nearest;      // else: [size, size], the bits of 1 / depth of what is seen, 0 for nothing
  Bits* shades;       // lambert: the same of its shade

  __device__ Image(const Scene<T>& scene, unsigned char* memory)
      : scene(scene),
        words((scene.size + 31) / 32),
        set(reinterpret_cast<unsigned int*>(memory)),
        nearest(reinterpret_cast<Bits*>(memory)),
        shades(nearest + scene.pixels()) {}

  __device__ T value(int64_t pixel) const {
    if (scene.output == RenderOutput::silhouette) {
      const int row = static_cast<int>(pixel / scene.size), c = static_cast<int>(pixel % scene.size);
      return static_cast<T>((set[row * words + c / 32] >> (c % 32)) & 1u);
    }
    if (scene.output == RenderOutput::lambert) return bit_cast<T>(shades[pixel]);
    const T w = bit_cast<T>(nearest[pixel]);
    return w > T(0) ? T(1) / w : T(0);
  }

  __device__ void clear(int64_t bytes) const {
    for (int64_t k = threadIdx.x; k < bytes / 4; k += kThreads) set[k] = 0;
  }

  // All threads of the block call it together.
  __device__ void draw(const Camera<double>& exact) const {
    const Camera<T> camera{
        static_cast<T>(exact.right_x),
        static_cast<T>(exact.right_z),
        {static_cast<T>(exact.down[0]), static_cast<T>(exact.down[1]),
         static_cast<T>(exact.down[2])},
        {static_cast<T>(exact.forward[0]), static_cast<T>(exact.forward[1]),
         static_cast<T>(exact.forward[2])},
        static_cast<T>(exact.distance)};
    if (scene.output == RenderOutput::silhouette) {
      draw_faces<false>(exact, camera, [&](int64_t, int row, const Span<T>& span) {
        cover(row, static_cast<int>(span.first), static_cast<int>(span.last));
      });
      return;
    }
    const auto for_pixels = [&](auto&& pixel) {
      draw_faces<true>(exact, camera, [&](int64_t face, int row, const Span<T>& span) {
        const int last = static_cast<int>(span.last);
        for (int c = static_cast<int>(span.first); c < last; ++c)
          pixel(face, int64_t(row) * scene.size + c, bit_cast<Bits>(nearness(span, c)));
      });
    };
    for_pixels([&](int64_t, int64_t pixel, Bits here) { atomicMax(&nearest[pixel], here); });
    if (scene.output == RenderOutput::depth) return;
    // Only now it is known which faces are seen: once more, for their shades.
    __syncthreads();
    for_pixels([&](int64_t face, int64_t pixel, Bits here) {
      if (nearest[pixel] == here)
        atomicMax(&shades[pixel], bit_cast<Bits>(shade_of(camera, scene.normals + 3 * face)));
    });
  }

 private:
  __device__ void cover(int row, int first, int last) const {
    for (int word = first / 32; 32 * word < last; ++word) {
      const int from = first - 32 * word, to = last - 32 * word;
      const unsigned int below = to < 32 ? (1u << to) - 1 : ~0u;
      const unsigned int above = from > 0 ? ~0u << from : ~0u;
      atomicOr(&set[row * words + word], below & above);
    }
  }

  // Calls take(face, row, span) for the spans of all triangles.
  template <bool kDepth, class F>
  __device__ void draw_faces(const Camera<double>& exact, const Camera<T>& camera, F&& take) const {
    const T offset = static_cast<T>(image_offset(scene.size));
    for (int64_t face = threadIdx.x; face < scene.num_faces; face += kThreads) {
      const T* points[3];
      Corner<T> corners[3];
      bool plain = true, known = true;
      for (int i = 0; i < 3; ++i) {
        const int64_t v = scene.faces[3 * face + i];
        known &= v >= 0 && v < scene.num_vertices;
        points[i] = scene.vertices + (known ? 3 * v : 0);
      }
      if (!known) continue;
      for (int i = 0; i < 3; ++i) {
        corners[i] = project(camera, points[i], offset);
        plain &= static_cast<bool>(is_plain<T>(corners[i], scene.size));
      }
      if (plain) {
        const Triangle<kDepth, T, T> triangle(corners[0], corners[1], corners[2], scene.size);
        for (T row = triangle.begin; row < triangle.end; row += T(1)) {
          const Span<T> span = triangle.span(row, scene.size);
          if (span.first < span.last) take(face, static_cast<int>(row), span);
        }
      } else {
        const ClippedTriangle<T> triangle(exact, camera, points, scene.size);
        triangle.template for_each_row<kDepth>(
            [&](int row, const Span<double>& span) { take(face, row, rounded<T>(span)); });
      }
    }
  }
};

template <class T>
__device__ Image<T> make_image(const RenderCall<T>& call) {
  extern __shared__ __align__(16) unsigned char shared[];
  return Image<T>(call.scene,
                  call.workspace ? call.workspace + blockIdx.x * call.image_bytes : shared);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    normals_kernel(const Scene<T> scene, T* __restrict__ normals) {  // [num_faces, 3]
  for (int64_t face = blockIdx.x * int64_t(kThreads) + threadIdx.x; face < scene.num_faces;
       face += int64_t(gridDim.x) * kThreads) {
    const int32_t* const v = scene.faces + 3 * face;
    double normal[3] = {0, 0, 0};
    bool known = true;
    for (int i = 0; i < 3; ++i) known &= v[i] >= 0 && v[i] < scene.num_vertices;
    if (known)
      face_normal(scene.vertices + 3 * int64_t(v[0]), scene.vertices + 3 * int64_t(v[1]),
                  scene.vertices + 3 * int64_t(v[2]), normal);
    for (int k = 0; k < 3; ++k) normals[3 * face + k] = static_cast<T>(normal[k]);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    hard_render_kernel(const RenderCall<T> call, T* __restrict__ images) {  // [B, pixels]
  __shared__ Camera<double> camera;
  const Image<T> image = make_image(call);
  const int64_t pixels = call.scene.pixels();
  for (int64_t row = blockIdx.x; row < call.elements; row += gridDim.x) {
    const T* const pose = call.x + row * kPose;
    const bool good =
        isfinite(pose[0]) && isfinite(pose[1]) && isfinite(pose[2]) && isfinite(pose[3]);
    if (threadIdx.x == 0) camera = make_camera(pose, call.scene.size);
    image.clear(call.image_bytes);
    __syncthreads();
    if (good) image.draw(camera);
    __syncthreads();
    for (int64_t k = threadIdx.x; k < pixels; k += kThreads)
      images[row * pixels + k] = good ? image.value(k) : T(NAN);
    __syncthreads();
  }
}

// Draws and renders the samples of the quads of one task after the other: all threads call
// take(c, weights) when the image of a sample is there, where weights[k] is the k-th of its n scores
// and n scale weights.
template <class T, class F>
__device__ void render_quads(const RenderCall<T>& call, const Image<T>& image, int64_t element,
                             int64_t begin, int64_t end, F&& take) {
  __shared__ Camera<double> camera;
  __shared__ T pose[4][kPose];
  __shared__ T weights[4][2 * kPose];
  const int64_t seed = *call.noise.seed;
  for (int64_t quad = begin; quad < end; ++quad) {
    if (threadIdx.x < kPose) {
      const int j = threadIdx.x;
      const T center = call.x[element * kPose + j], scale = call.noise.scale_at(element, j);
      for_quad<true, false>(call.noise, seed, element, j, quad, [&](int c, const Weights<T>& w) {
        pose[c][j] = fused(scale, w.noise, center);
        weights[c][j] = w.score;
        weights[c][kPose + j] = w.scale;
      });
    }
    __syncthreads();
    for (int c = 0; c < 4 && 4 * quad + c < call.noise.num_samples; ++c) {
      if (threadIdx.x == 0) camera = make_camera(pose[c], call.scene.size);
      image.clear(call.image_bytes);
      __syncthreads();
      image.draw(camera);
      __syncthreads();
      take(4 * quad + c, weights[c]);
      __syncthreads();
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    render_kernel(const RenderCall<T> call, Chunks chunks,
                  double* __restrict__ sums) {  // [B, chunks, pixels]
  const Image<T> image = make_image(call);
  const int64_t pixels = call.scene.pixels(), quads = ceil_div(call.noise.num_samples, 4);
  for (int64_t task = blockIdx.x; task < call.elements * chunks.count; task += gridDim.x) {
    const int64_t begin = task % chunks.count * chunks.units;
    const int64_t end = min(begin + chunks.units, quads);
    double* const own = sums + task * pixels;
    // A thread always takes the same pixels.
    render_quads(call, image, task / chunks.count, begin, end, [&](int64_t sample, const T*) {
      const bool first = sample == 4 * begin;
      for (int64_t k = threadIdx.x; k < pixels; k += kThreads)
        own[k] = (first ? 0.0 : own[k]) + static_cast<double>(image.value(k));
    });
  }
}

// With g the sum of grad * image of a sample, less the baseline: sums of g * weight.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    render_weights_kernel(const RenderCall<T> call, Chunks chunks, int weights,
                          const T* __restrict__ grad,      // [B, pixels]
                          const T* __restrict__ baseline,  // [B]
                          double* __restrict__ sums) {     // [B, chunks, weights]
  __shared__ double warp_sums[kWarps];
  const Image<T> image = make_image(call);
  const int64_t pixels = call.scene.pixels(), quads = ceil_div(call.noise.num_samples, 4);
  for (int64_t task = blockIdx.x; task < call.elements * chunks.count; task += gridDim.x) {
    const int64_t element = task / chunks.count, begin = task % chunks.count * chunks.units;
    const int64_t end = min(begin + chunks.units, quads);
    const T* const upstream = grad + element * pixels;
    const double center = baseline[element];
    double own = 0;  // of weight threadIdx.x
    render_quads(call, image, element, begin, end, [&](int64_t, const T* weight) {
      double part = 0;
      for (int64_t k = threadIdx.x; k < pixels; k += kThreads)
        part += static_cast<double>(upstream[k]) * static_cast<double>(image.value(k));
      part = warp_sum(part);
      if (threadIdx.x % kWarp == 0) warp_sums[threadIdx.x / kWarp] = part;
      __syncthreads();
      if (threadIdx.x < weights) {
        double g = -center;
        for (int w = 0; w < kWarps; ++w) g += warp_sums[w];
        own += g * static_cast<double>(weight[threadIdx.x]);
      }
    });
    if (threadIdx.x < weights) sums[task * weights + threadIdx.x] = own;
  }
}

// Tensors that a call points into.
template <class T>
struct Rendering {
  RenderCall<T> call;
  Tensor normals;
  std::optional<Workspace> workspace;
  int64_t blocks;

  // tasks: of the kernel that renders.
  Rendering(const Noise<T>& noise, RenderOutput output, const Tensor& pose, const Tensor& vertices,
            const Tensor& faces, int64_t size, int64_t tasks)
      : call{noise,
             {output, static_cast<int>(size), vertices.size(0), faces.size(0), data<T>(vertices),
              data<int32_t>(faces), nullptr},
             pose.size(0),
             data<T>(pose),
             nullptr,
             image_bytes(output, size, sizeof(T))},
        normals(torch::stable::new_empty(
            pose, {output == RenderOutput::lambert ? faces.size(0) : 0, 3})),
        blocks(tasks) {
    if (normals.numel() > 0) {
      launch(&normals_kernel<T>, ceil_div(faces.size(0), kThreads), kThreads, 0, pose, call.scene,
             mutable_data<T>(normals));
      call.scene.normals = data<T>(normals);
    }
    constexpr int64_t declared = 4096;
    if (call.image_bytes > shared_memory_limit(pose) - declared) {
      workspace.emplace(tasks, call.image_bytes, pose);
      blocks = workspace->blocks;
      call.workspace = workspace->data();
    }
  }

  template <class Kernel, class... Arguments>
  void run(Kernel kernel, const Tensor& device, Arguments... arguments) const {
    launch(kernel, blocks, kThreads, call.workspace ? 0 : call.image_bytes, device, call,
           arguments...);
  }
};

void check_mesh_devices(const Tensor& vertices, const Tensor& faces, const Tensor& pose) {
  check_device(vertices, "render: vertices", pose);
  check_device(faces, "render: faces", pose);
}

Tensor hard_render(Tensor pose, Tensor vertices, Tensor faces, int64_t size, std::string output) {
  const RenderOutput parsed = check_rendering(pose, vertices, faces, size, output);
  check_mesh_devices(vertices, faces, pose);
  const DeviceGuard guard(pose.get_device_index());
  Tensor images = torch::stable::new_empty(pose, {pose.size(0), size, size});
  dispatch_floating(pose, "hard_render: pose", [&](auto type) {
    using T = decltype(type);
    if (pose.numel() == 0) return;
    const Rendering<T> rendering(Noise<T>{}, parsed, pose, vertices, faces, size, pose.size(0));
    rendering.run(&hard_render_kernel<T>, pose, mutable_data<T>(images));
  });
  return images;
}

std::tuple<Tensor, Tensor, Tensor> render(Tensor x, Tensor vertices, Tensor faces, Tensor scale,
                                          Tensor seed, Tensor directions, std::string law,
                                          std::string sampler, bool antithetic,
                                          int64_t num_samples, int64_t size, std::string output,
                                          std::string baseline, double /*factor*/,
                                          double pair_weight, std::string jacobian_name) {
  const RenderOutput parsed = check_rendering(x, vertices, faces, size, output);
  STD_TORCH_CHECK(scale.scalar_type() == x.scalar_type(), "render: scale must have pose's dtype");
  parse_baseline(baseline);
  const Jacobian jacobian = parse_jacobian(jacobian_name);
  STD_TORCH_CHECK(jacobian == Jacobian::none,
                  "render: there is no Jacobian on CUDA: ask for 'none' and use render_backward; "
                  "got '", jacobian_name, "'");
  check_mesh_devices(vertices, faces, x);
  check_device(scale, "render: scale", x);
  check_noise_devices(seed, directions, x);
  const int64_t elements = x.size(0), pixels = size * size;
  const DeviceGuard guard(x.get_device_index());
  RenderResult result(x, size, jacobian);
  dispatch_floating(x, "render: pose", [&](auto type) {
    using T = decltype(type);
    const Noise<T> noise = make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, kPose);
    if (x.numel() == 0) return;
    // Large images are summed in fewer chunks: this much memory, or one chunk for each element.
    constexpr int64_t most_sums = int64_t(1) << 25;
    const int64_t quads = ceil_div(num_samples, 4);
    const int64_t most = std::max<int64_t>(1, most_sums / (elements * pixels));
    Chunks chunks = cut(elements, quads);
    if (chunks.count > most) {
      chunks.units = ceil_div(quads, most);
      chunks.count = ceil_div(quads, chunks.units);
    }
    Tensor sums =
        torch::stable::new_empty(x, {elements, chunks.count, pixels}, ScalarType::Double);
    const Rendering<T> rendering(noise, parsed, x, vertices, faces, size, elements * chunks.count);
    rendering.run(&render_kernel<T>, x, chunks, mutable_data<double>(sums));
    finish_mean<double>(noise, data<T>(x), static_cast<const T*>(nullptr), elements, sums, x,
                        result.mean);
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
  check_mesh_devices(vertices, faces, x);
  check_device(grad, "render_backward: grad", x);
  check_device(baseline, "render_backward: baseline", x);
  check_device(scale, "render_backward: scale", x);
  check_noise_devices(seed, directions, x);
  const int64_t elements = x.size(0);
  const DeviceGuard guard(x.get_device_index());
  Tensor grad_x = torch::stable::new_empty(x, {elements, kPose});
  Tensor grad_scale = torch::stable::new_empty(x, {elements, scale_gradient ? kPose : 0});
  dispatch_floating(x, "render_backward: pose", [&](auto type) {
    using T = decltype(type);
    const Noise<T> noise = make_noise<T>(scale, seed, directions, law, sampler, antithetic,
                                         num_samples, pair_weight, elements, kPose);
    if (x.numel() == 0) return;
    const int weights = (scale_gradient ? 2 : 1) * kPose;
    const Chunks chunks = cut(elements, ceil_div(num_samples, 4));
    const Rendering<T> rendering(noise, parsed, x, vertices, faces, size, elements * chunks.count);
    Tensor sums =
        torch::stable::new_empty(x, {elements, chunks.count, weights}, ScalarType::Double);
    rendering.run(&render_weights_kernel<T>, x, chunks, weights, data<T>(grad), data<T>(baseline),
                  mutable_data<double>(sums));
    finish_gradient(noise, data<T>(x), elements, factor, sums, x, grad_x, grad_scale);
  });
  return {grad_x, grad_scale};
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CUDA, m) {
  m.impl("hard_render", TORCH_BOX(&torchsmooth::hard_render));
  m.impl("render", TORCH_BOX(&torchsmooth::render));
  m.impl("render_backward", TORCH_BOX(&torchsmooth::render_backward));
}
