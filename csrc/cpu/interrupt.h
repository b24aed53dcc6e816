// Ends an op early when a signal arrives, for callers that asked for it.
#pragma once

#include <atomic>

namespace torchsmooth {

// While it lives, the first SIGINT of the process is noticed here, and handed on to the handler that
// was there. Only in the main thread, where no other code can change handlers meanwhile, and only
// where that thread asked for it by `torchsmooth_set_interruptible` and the signal has a handler:
// else nothing is noticed.
class Interrupt {
 public:
  // worthwhile: whether the work takes so long that anybody would wait for it.
  explicit Interrupt(bool worthwhile);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Any thread may ask.
  bool arrived() const;

 private:
  bool installed_ = false;
};

}  // namespace torchsmooth
