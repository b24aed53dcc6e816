// The arguments of the ops that render, checked in one place for all devices.
#pragma once

#include "arguments.h"
#include "memory.h"
#include "../core/algorithms/raster.h"

namespace torchsmooth {

// So that positions of pixels are exact in float32, with room for what lies around the image.
constexpr int64_t kMostPixels = 4096;

inline RenderOutput check_rendering(const Tensor& pose, const Tensor& vertices, const Tensor& faces,
                                    int64_t size, const std::string& output) {
  constexpr Named<RenderOutput> table[] = {{"silhouette", RenderOutput::silhouette},
                                           {"depth", RenderOutput::depth},
                                           {"lambert", RenderOutput::lambert}};
  const RenderOutput parsed = parse_named(table, "output", output);
  STD_TORCH_CHECK(pose.dim() == 2, "render: pose must be [B, 4], got ", pose.dim(), " dimensions");
  check_matrix(pose, "render: pose", pose.size(0), kPose);
  STD_TORCH_CHECK(vertices.dim() == 2, "render: vertices must be [V, 3], got ", vertices.dim(),
                  " dimensions");
  check_matrix(vertices, "render: vertices", vertices.size(0), 3);
  STD_TORCH_CHECK(faces.dim() == 2, "render: faces must be [F, 3], got ", faces.dim(),
                  " dimensions");
  check_matrix(faces, "render: faces", faces.size(0), 3);
  STD_TORCH_CHECK(vertices.scalar_type() == pose.scalar_type(),
                  "render: vertices must have pose's dtype");
  STD_TORCH_CHECK(faces.scalar_type() == ScalarType::Int, "render: faces must be int32");
  STD_TORCH_CHECK(vertices.size(0) <= 0x7FFFFFFFll, "render: at most 2^31 - 1 vertices");
  STD_TORCH_CHECK(1 <= size && size <= kMostPixels, "render: size must be in [1, ", kMostPixels,
                  "], got ", size);
  return parsed;
}

constexpr const char* kSmallerRender = "lower image_size, or pass fewer poses";

// What the forward op returns: the mean image, and its derivatives [B, size, size, 4] in the pose
// and in the scale, or empty tensors in their places.
struct RenderResult {
  Tensor mean;
  Tensor jacobian_x;
  Tensor jacobian_scale;

  RenderResult(const Tensor& pose, int64_t size, Jacobian jacobian)
      : mean(new_tensor(pose, {pose.size(0), size, size}, {"the images", kSmallerRender})),
        jacobian_x(derivative(pose, size, jacobian != Jacobian::none)),
        jacobian_scale(derivative(pose, size, jacobian == Jacobian::x_and_scale)) {}

 private:
  static Tensor derivative(const Tensor& pose, int64_t size, bool wanted) {
    if (!wanted) return torch::stable::new_empty(pose, {0});
    return new_tensor(pose, {pose.size(0), size, size, kPose},
                      {"the derivatives of the images", kSmallerRender});
  }
};

inline void check_render_backward(const Tensor& grad, const Tensor& baseline, const Tensor& pose,
                                  int64_t size) {
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == pose.size(0) && grad.size(1) == size &&
                      grad.size(2) == size && grad.is_contiguous(),
                  "render_backward: grad must be contiguous of shape [B, size, size]");
  STD_TORCH_CHECK(
      baseline.dim() == 1 && baseline.size(0) == pose.size(0) && baseline.is_contiguous(),
      "render_backward: baseline must be contiguous of shape [B]");
  STD_TORCH_CHECK(grad.scalar_type() == pose.scalar_type() &&
                      baseline.scalar_type() == pose.scalar_type(),
                  "render_backward: grad and baseline must have pose's dtype");
}

}  // namespace torchsmooth
