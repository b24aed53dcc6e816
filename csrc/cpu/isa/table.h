// Instantiates every kernel for the instruction set of the including file.
#include "../kernels/order_statistics.h"
#include "../kernels/perturb.h"
#include "../kernels/reduce.h"
#include "../kernels/render.h"
#include "../kernels/shortest_path.h"
#include "../kernels/sort.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

template <class T>
constexpr Kernels<T> table() {
  return {&words,
          &perturb<T>,
          &reduce<T>,
          &sort_matrix<T>,
          &sort_matrix_jacobian<T>,
          &sort_vector<T>,
          &sort_vector_jacobian<T>,
          &sort_backward<T>,
          &order_statistics<T>,
          &order_statistics_backward<T>,
          &hard_shortest_path<T>,
          &shortest_path<T>,
          &shortest_path_backward<T>,
          &hard_render<T>,
          &render<T>,
          &render_backward<T>};
}
const Kernels<float> f32 = table<float>();
const Kernels<double> f64 = table<double>();

}  // namespace torchsmooth::TORCHSMOOTH_ISA
