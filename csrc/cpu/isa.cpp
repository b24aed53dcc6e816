// Which instruction set this machine runs.
#include <cstdlib>
#include <exception>
#include <string>

#include "../stable.h"
#include "kernels.h"

namespace torchsmooth {
namespace {

struct Choice {
  const char* name;
  const Kernels<float>* f32;
  const Kernels<double>* f64;
};

Choice choose() {
  const char* variable = std::getenv("TORCHSMOOTH_CPU");
  const std::string wanted = variable ? variable : "";
  STD_TORCH_CHECK(wanted.empty() || wanted == "baseline" || wanted == "avx2" || wanted == "avx512",
                  "TORCHSMOOTH_CPU must be baseline, avx2 or avx512, got '", wanted, "'");
#if defined(TORCHSMOOTH_X86_ISAS)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                        __builtin_cpu_supports("bmi2");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                          __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  STD_TORCH_CHECK((wanted != "avx2" || has_avx2) && (wanted != "avx512" || has_avx512),
                  "TORCHSMOOTH_CPU: this machine has no ", wanted);
  if (wanted == "avx512" || (wanted.empty() && has_avx512))
    return {"avx512", &avx512::f32, &avx512::f64};
  if (wanted == "avx2" || (wanted.empty() && has_avx2)) return {"avx2", &avx2::f32, &avx2::f64};
#else
  STD_TORCH_CHECK(wanted.empty() || wanted == "baseline", "TORCHSMOOTH_CPU: this machine has no ",
                  wanted);
#endif
  return {"baseline", &baseline::f32, &baseline::f64};
}

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  return *choice().f32;
}
template <>
const Kernels<double>& kernels<double>() {
  return *choice().f64;
}

}  // namespace torchsmooth

// For reports of the installation, which read it by ctypes: the name of the instruction set, or null
// where TORCHSMOOTH_CPU names one that this machine does not have.
extern "C" __attribute__((visibility("default"))) const char* torchsmooth_instruction_set() {
  try {
    return torchsmooth::choice().name;
  } catch (const std::exception&) {
    return nullptr;
  }
}
