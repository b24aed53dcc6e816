#include "scheduler.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <vector>

#include "race.h"
#include "settings.h"

namespace emulator {

Dim block_index, block_dim, grid_dim;

namespace {

// The block that runs.
struct Block {
  std::vector<Fiber> fibers;
  unsigned alive = 0;
  unsigned arrived = 0;  // at a barrier of the block
  int accumulated = 0;   // of __syncthreads_and, _or, _count
  Op op = Op::none;
  Site site;
  // Lanes of each warp, a bit each: that wait for their warp, and that have not ended.
  unsigned waiting[kMostThreads / kWarp] = {}, running[kMostThreads / kWarp] = {};
  void (*body)(const void*) = nullptr;
  const void* arguments = nullptr;
};
Block block;
std::string first_failure;

unsigned lanes_of(unsigned warp) { return std::min(kWarp, block_dim.x - warp * kWarp); }

std::string describe(Op op, Site site) {
  constexpr const char* names[] = {"nothing",           "__syncthreads",       "__syncthreads_and",
                                   "__syncthreads_or",  "__syncthreads_count", "__syncwarp",
                                   "__any_sync",        "__all_sync",          "__ballot_sync",
                                   "__reduce_add_sync", "__shfl_xor_sync",     "__shfl_down_sync"};
  const char* file = site.file ? site.file : "?";
  if (const char* const slash = std::strrchr(file, '/')) file = slash + 1;
  return std::string(names[static_cast<int>(op)]) + " at " + file + ":" + std::to_string(site.line);
}

bool same_call(Op op, Site site, Op other_op, Site other) {
  return op == other_op && site.line == other.line &&
         (site.file == other.file || std::strcmp(site.file, other.file) == 0);
}

// Threads that have ended count as having arrived, as on GPUs since Volta.
void complete_block_barrier() {
  if (block.arrived == 0 || block.arrived != block.alive) return;
  race::block_barrier();
  for (unsigned t = 0; t < block_dim.x; ++t) {
    Fiber& fiber = block.fibers[t];
    if (fiber.state != Fiber::State::waits_for_block) continue;
    fiber.value = static_cast<uint64_t>(static_cast<int64_t>(block.accumulated));
    fiber.state = Fiber::State::ready;
  }
  block.arrived = 0;
}

// The lanes of one operation of a warp, all of which have arrived.
struct Meeting {
  Fiber* lanes;
  unsigned count;  // of lanes in the warp
  unsigned mask;

  bool has(unsigned lane) const {
    return lane < count && (mask >> lane & 1) && lanes[lane].state != Fiber::State::ended;
  }

  uint64_t result(unsigned lane) const {
    const Fiber& fiber = lanes[lane];
    uint64_t sum = 0;
    unsigned ballot = 0;
    bool all = true;
    for (unsigned l = 0; l < count; ++l) {
      if (!has(l)) continue;
      sum = static_cast<uint32_t>(sum + lanes[l].value);
      if (lanes[l].value != 0) ballot |= 1u << l;
      all &= lanes[l].value != 0;
    }
    switch (fiber.op) {
      case Op::any:
        return ballot != 0;
      case Op::all:
        return all;
      case Op::ballot:
        return ballot;
      case Op::reduce_add:
        return sum;
      case Op::shuffle_xor:
      case Op::shuffle_down:
        if (has(static_cast<unsigned>(fiber.source))) return lanes[fiber.source].value;
        fail(describe(fiber.op, fiber.site) + ": lane " + std::to_string(lane) + " reads lane " +
             std::to_string(fiber.source) + ", which does not take part");
        return 0;
      default:
        return 0;
    }
  }
};

// Whether all lanes that `lanes[first]` waits for wait for it too; fails where they wait elsewhere.
bool is_complete(unsigned warp, unsigned first) {
  const Fiber* const lanes = &block.fibers[warp * kWarp];
  const Fiber& own = lanes[first];
  for (unsigned l = 0; l < lanes_of(warp); ++l) {
    if (!(own.mask >> l & 1) || lanes[l].state == Fiber::State::ended) continue;
    if (lanes[l].state != Fiber::State::waits_for_warp || lanes[l].mask != own.mask) return false;
    if (!same_call(lanes[l].op, lanes[l].site, own.op, own.site)) {
      fail("lanes " + std::to_string(first) + " and " + std::to_string(l) + " of warp " +
           std::to_string(warp) + " meet at different calls: " + describe(own.op, own.site) +
           " and " + describe(lanes[l].op, lanes[l].site));
      return false;
    }
  }
  return true;
}

// Gives their results to the lanes of every operation of the warp that is complete. `wanted`: lanes
// without which none can be.
void complete_warp_ops(unsigned warp, unsigned wanted) {
  wanted &= block.running[warp];
  if ((block.waiting[warp] & wanted) != wanted) return;
  const unsigned count = lanes_of(warp);
  Fiber* const lanes = &block.fibers[warp * kWarp];
  for (unsigned first = 0; first < count; ++first) {
    if (lanes[first].state != Fiber::State::waits_for_warp || !is_complete(warp, first)) continue;
    const Meeting meeting{lanes, count, lanes[first].mask};
    uint64_t results[kWarp];
    for (unsigned l = 0; l < count; ++l)
      if (meeting.has(l)) results[l] = meeting.result(l);
    if (lanes[first].op == Op::syncwarp) race::warp_barrier(warp, meeting.mask);
    for (unsigned l = 0; l < count; ++l) {
      if (!meeting.has(l)) continue;
      lanes[l].value = results[l];
      lanes[l].state = Fiber::State::ready;
      block.waiting[warp] &= ~(1u << l);
    }
  }
}

void thread_main() {
  entered();
  block.body(block.arguments);
  const unsigned warp = current->thread.x / kWarp;
  current->state = Fiber::State::ended;
  --block.alive;
  block.running[warp] &= ~(1u << current->thread.x % kWarp);
  // Nobody waits for a thread that has ended.
  complete_block_barrier();
  if (block.waiting[warp]) complete_warp_ops(warp, 0);
  suspend(true);
  std::abort();
}

std::string where_threads_are() {
  std::map<std::string, std::vector<unsigned>> places;
  for (unsigned t = 0; t < block_dim.x; ++t) {
    const Fiber& fiber = block.fibers[t];
    const bool ended = fiber.state == Fiber::State::ended;
    places[ended ? "ended" : describe(fiber.op, fiber.site)].push_back(t);
  }
  std::string text;
  for (const auto& [place, threads] : places) {
    text += "\n  " + place + ": threads";
    for (size_t i = 0; i < threads.size(); ++i) {
      size_t end = i;
      while (end + 1 < threads.size() && threads[end + 1] == threads[end] + 1) ++end;
      text += " " + std::to_string(threads[i]);
      if (end > i) text += "-" + std::to_string(threads[end]);
      i = end;
    }
  }
  return text;
}

// Runs those of the given threads that are ready; whether there were any.
bool run_ready(const unsigned* threads, unsigned count) {
  bool ran = false;
  for (unsigned i = 0; i < count && first_failure.empty(); ++i) {
    Fiber& fiber = block.fibers[threads[i]];
    if (fiber.state != Fiber::State::ready) continue;
    resume(fiber);
    ran = true;
  }
  return ran;
}

}  // namespace

Order::Order()
    : state_(static_cast<uint64_t>(number_setting("EMU_SEED", 1)) * 0x9E3779B97F4A7C15ull + 1) {
  const std::string name = text_setting("EMU_ORDER", "up");
  if (name == "up") {
    kind_ = Kind::up;
  } else if (name == "down") {
    kind_ = Kind::down;
  } else if (name == "random") {
    kind_ = Kind::random;
  } else if (name == "warps") {
    kind_ = Kind::warps;
  } else {
    throw std::runtime_error("EMU_ORDER must be up, down, random or warps, got " + name);
  }
}

uint32_t Order::random(uint32_t below) {  // xorshift
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return static_cast<uint32_t>((state_ >> 11) % below);
}

template <class T>
void Order::shuffle(T* values, uint32_t count) {
  for (uint32_t i = count; i > 1; --i) std::swap(values[i - 1], values[random(i)]);
}

void run_block(Order& order, void (*body)(const void*), const void* arguments) {
  const unsigned threads = block_dim.x, num_warps = (threads + kWarp - 1) / kWarp;
  block.body = body;
  block.arguments = arguments;
  block.alive = threads;
  block.arrived = 0;
  while (block.fibers.size() < threads) allocate_stack(block.fibers.emplace_back());
  std::vector<unsigned> sequence(threads), warps(num_warps);
  for (unsigned t = 0; t < threads; ++t) {
    Fiber& fiber = block.fibers[t];
    fiber.thread = {t, 0, 0};
    fiber.state = Fiber::State::ready;
    restart(fiber, &thread_main);
    sequence[t] = order.kind_ == Order::Kind::down ? threads - 1 - t : t;
  }
  for (unsigned w = 0; w < num_warps; ++w) {
    warps[w] = w;
    block.waiting[w] = 0;
    block.running[w] = ~0u >> (kWarp - lanes_of(w));
  }
  while (block.alive > 0 && first_failure.empty()) {
    bool ran = false;
    if (order.kind_ == Order::Kind::warps) {
      order.shuffle(warps.data(), num_warps);
      for (const unsigned w : warps) {
        unsigned* const lanes = &sequence[w * kWarp];
        do {
          order.shuffle(lanes, lanes_of(w));
        } while (run_ready(lanes, lanes_of(w)) && (ran = true));
      }
    } else {
      if (order.kind_ == Order::Kind::random) order.shuffle(sequence.data(), threads);
      ran = run_ready(sequence.data(), threads);
    }
    if (!ran && block.alive > 0) fail("the threads wait forever:" + where_threads_are());
  }
  if (!first_failure.empty()) {
    for (Fiber& fiber : block.fibers) abandon(fiber);
  }
}

const std::string& failure() { return first_failure; }
void clear_failure() { first_failure.clear(); }
void fail(const std::string& what) {
  if (!first_failure.empty()) return;
  first_failure = what + " (block " + std::to_string(block_index.x) + " of " +
                  std::to_string(grid_dim.x) +
                  (current ? ", thread " + std::to_string(current->thread.x) : "") + ")";
}

int block_barrier(Op op, int value, Site site) {
  Fiber& fiber = *current;
  if (block.arrived == 0) {
    block.op = op;
    block.site = site;
    block.accumulated = op == Op::syncthreads_and ? 1 : 0;
  } else if (!same_call(op, site, block.op, block.site)) {
    fail("threads of a block meet at different barriers: " + describe(block.op, block.site) +
         " and " + describe(op, site));
    suspend();
  }
  if (op == Op::syncthreads_and) block.accumulated &= value != 0;
  if (op == Op::syncthreads_or) block.accumulated |= value != 0;
  if (op == Op::syncthreads_count) block.accumulated += value != 0;
  ++block.arrived;
  fiber.state = Fiber::State::waits_for_block;
  fiber.op = op;
  fiber.site = site;
  complete_block_barrier();
  suspend();
  return static_cast<int>(fiber.value);
}

uint64_t warp_op(Op op, unsigned mask, uint64_t value, int by, int width, Site site) {
  Fiber& fiber = *current;
  const unsigned lane = fiber.thread.x % kWarp, warp = fiber.thread.x / kWarp;
  if (!(mask >> lane & 1)) {
    fail(describe(op, site) + ": the caller is not in its own mask");
    suspend();
  }
  if (op == Op::shuffle_xor || op == Op::shuffle_down) {
    if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
      fail(describe(op, site) + ": the width must be a power of 2, not " + std::to_string(width));
      suspend();
    }
    const int own = static_cast<int>(lane), end = (own / width + 1) * width;
    const int from = op == Op::shuffle_xor ? own ^ by : own + by;
    fiber.source = from < end ? from : own;
  }
  fiber.state = Fiber::State::waits_for_warp;
  fiber.op = op;
  fiber.site = site;
  fiber.mask = mask;
  fiber.value = value;
  block.waiting[warp] |= 1u << lane;
  complete_warp_ops(warp, mask);
  suspend();
  return fiber.value;
}

}  // namespace emulator
