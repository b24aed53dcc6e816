// Memory that a kernel works in, cut into typed arrays.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if !defined(NDEBUG)
#include <cstdio>
#include <cstdlib>
#include <vector>
#endif

namespace torchsmooth {

// Hands out arrays of one block of memory, each at the start of a cache line. Without a block it
// counts bytes, so that the code that places the arrays also gives their size.
//
// In debug builds (NDEBUG undefined) each array has a guard behind it, which `check` looks at.
class Arena {
 public:
  static constexpr int64_t kLine = 64;  // bytes of a cache line, the alignment of every array

  Arena() = default;
  explicit Arena(char* block) : block_(block) {}

  template <class T>
  T* array(int64_t size) {
    static_assert(alignof(T) <= kLine);
    constexpr int64_t most = std::numeric_limits<int64_t>::max() / 2;
    char* const begin = block_ ? block_ + bytes_ : nullptr;
    // Sizes that no machine has are counted as `most`: no sum of them overflows.
    if (size > (most - bytes_) / static_cast<int64_t>(sizeof(T)) - 2 * kLine) {
      bytes_ = most;
    } else {
      const int64_t wanted = size * static_cast<int64_t>(sizeof(T));
      bytes_ += (wanted + kLine - 1) / kLine * kLine;
      guard(begin ? begin + wanted : nullptr);
    }
    return reinterpret_cast<T*>(begin);
  }

  int64_t bytes() const { return bytes_; }

#if defined(NDEBUG)
  void check() const {}

 private:
  void guard(char*) {}
#else
  // Ends the process if a kernel wrote behind one of its arrays.
  void check() const {
    for (const char* at : guards_) {
      for (int64_t k = 0; k < kLine; ++k) {
        if (at[k] == kGuard) continue;
        std::fprintf(stderr, "torchsmooth: a kernel wrote behind its scratch memory\n");
        std::abort();
      }
    }
  }

 private:
  static constexpr char kGuard = 0x5A;

  // The guard begins right behind the array, and the line that is added holds the rest of it.
  void guard(char* at) {
    bytes_ += kLine;
    if (!at) return;
    std::memset(at, kGuard, kLine);
    guards_.push_back(at);
  }

  std::vector<char*> guards_;
#endif
  char* block_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace torchsmooth
