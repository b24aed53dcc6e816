// Asking for memory: what the machine cannot hold is refused before any work, by name.
#pragma once

#include <array>
#include <exception>
#include <memory>
#include <new>
#include <sstream>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "../stable.h"

namespace torchsmooth {

// What memory is for, and which arguments to lower if there is too little: both end up in an error.
struct Purpose {
  const char* what;
  const char* advice;
};

// Bytes of main memory, or 0 where the system does not tell.
inline double main_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  static const double pages = static_cast<double>(sysconf(_SC_PHYS_PAGES));  // a system call
  return pages > 0 ? pages * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
#else
  return 0;
#endif
}

[[noreturn]] inline void refuse_memory(double bytes, const Purpose& purpose) {
  std::ostringstream size;
  size.precision(3);
  if (bytes < 1e6) {
    size << bytes << " bytes";
  } else {
    size << (bytes < 1e9 ? bytes / 1e6 : bytes / 1e9) << (bytes < 1e9 ? " MB" : " GB");
  }
  STD_TORCH_CHECK(false, "out of memory: ", purpose.what, " would take ", size.str(), "; ",
                  purpose.advice);
  std::terminate();  // not reached, but the compiler can't know
}

// Of main memory, for which the system may promise more than it has.
inline void check_main_memory(double bytes, const Purpose& purpose) {
  const double most = main_memory();
  if (most > 0 && bytes > most) refuse_memory(bytes, purpose);
}

// On the device and of the dtype of `like`. Its elements are not initialised.
inline Tensor new_tensor(const Tensor& like, const std::vector<int64_t>& shape,
                         const Purpose& purpose) {
  double bytes = static_cast<double>(like.element_size());
  for (const int64_t size : shape) bytes *= static_cast<double>(size);
  if (like.is_cpu()) check_main_memory(bytes, purpose);
  try {
    return torch::stable::new_empty(like, shape);
  } catch (const std::exception&) {
    refuse_memory(bytes, purpose);
  }
}

// `size` objects in main memory, not initialised.
template <class T>
std::unique_ptr<T[]> new_array(int64_t size, const Purpose& purpose) {
  const double bytes = static_cast<double>(size) * sizeof(T);
  check_main_memory(bytes, purpose);
  T* const begin = new (std::nothrow) T[size];
  if (!begin) refuse_memory(bytes, purpose);
  return std::unique_ptr<T[]>(begin);
}

}  // namespace torchsmooth
