// Instantiates every kernel for the instruction set of the including file.
#include "../kernels/argsort.h"
#include "../kernels/perturb.h"
#include "../kernels/reduce.h"

namespace torchsmooth::TORCHSMOOTH_ISA {

template <class T>
constexpr Kernels<T> table() {
  return {&words,        &perturb<T>,          &reduce<T>,
          &argsort<T>,   &argsort_jacobian<T>, &argsort_backward<T>};
}
const Kernels<float> f32 = table<float>();
const Kernels<double> f64 = table<double>();

}  // namespace torchsmooth::TORCHSMOOTH_ISA
