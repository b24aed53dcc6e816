#include "interrupt.h"

#if defined(__linux__) || defined(__APPLE__)
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>
#define TORCHSMOOTH_SIGNALS 1
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

namespace torchsmooth {
namespace {

// Whether the caller can do something about an op that did not end. Each thread's own.
thread_local bool interruptible = false;

#if defined(TORCHSMOOTH_SIGNALS)
std::atomic<bool> signal_arrived = false;
static_assert(std::atomic<bool>::is_always_lock_free);
struct sigaction previous;

void notice(int number, siginfo_t* info, void* context) {
  signal_arrived = true;
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(number, info, context);
  } else {
    previous.sa_handler(number);
  }
}

bool in_main_thread() {
#if defined(__linux__)
  return getpid() == static_cast<pid_t>(syscall(SYS_gettid));
#else
  return pthread_main_np() != 0;
#endif
}
#endif

}  // namespace

#if defined(TORCHSMOOTH_SIGNALS)
Interrupt::Interrupt(bool worthwhile) {
  if (!worthwhile || !interruptible || !in_main_thread()) return;
  if (sigaction(SIGINT, nullptr, &previous) != 0) return;
  const bool handled = (previous.sa_flags & SA_SIGINFO) ||
                       (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN);
  if (!handled) return;
  signal_arrived = false;
  struct sigaction action = previous;
  action.sa_sigaction = notice;
  action.sa_flags |= SA_SIGINFO;
  installed_ = sigaction(SIGINT, &action, nullptr) == 0;
}

Interrupt::~Interrupt() {
  if (installed_) sigaction(SIGINT, &previous, nullptr);
}

bool Interrupt::arrived() const { return installed_ && signal_arrived; }
#else
Interrupt::Interrupt(bool) {}
Interrupt::~Interrupt() {}
bool Interrupt::arrived() const { return false; }
#endif

}  // namespace torchsmooth

// Whether a signal may end the ops that this thread calls from now on. They then raise an error, and
// whoever asked for that is to call them again if its own handler of the signal raised nothing.
extern "C" __attribute__((visibility("default"))) void torchsmooth_set_interruptible(int on) {
  torchsmooth::interruptible = on != 0;
}
