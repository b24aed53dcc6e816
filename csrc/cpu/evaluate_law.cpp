#include "../ops/arguments.h"
#include "../core/evaluate.h"
#include "parallel.h"

namespace torchsmooth {
namespace {

Tensor evaluate_law(Tensor x, std::string law_name, std::string function_name) {
  const Law law = parse_law(law_name);
  const Function function = parse_function(function_name);
  STD_TORCH_CHECK(x.is_contiguous(), "evaluate_law: x must be contiguous");
  Tensor out = torch::stable::empty_like(x);
  dispatch_floating(x, "evaluate_law: x", [&](auto type) {
    using T = decltype(type);
    const T* const input = data<T>(x);
    T* const result = mutable_data<T>(out);
    with_law(law, [&](auto l) {
      for (int64_t i = 0; i < x.numel(); ++i) result[i] = evaluate<T>(l, function, input[i]);
    });
  });
  return out;
}

}  // namespace
}  // namespace torchsmooth

STABLE_TORCH_LIBRARY_IMPL(torchsmooth, CPU, m) {
  m.impl("evaluate_law", TORCH_BOX(&torchsmooth::evaluate_law));
}
