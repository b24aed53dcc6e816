// What one sample costs on one core, kernel by kernel: see kernels.py, which compiles and runs this.
// Prints one JSON object per line.
#define TORCHSMOOTH_ISA avx2
#define TORCHSMOOTH_AVX2 1
#define TORCHSMOOTH_FMA 1
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>
// The standard library's headers come before the target, because the kernels alone are for it.
#pragma GCC target("avx2,fma,bmi2")
#include "../csrc/cpu/isa/table.h"

namespace torchsmooth::avx2 {

constexpr int64_t kSamples = 8192;
constexpr int kRepetitions = 40;

// Nanoseconds per sample: the minimum of many repetitions.
template <class F>
double time_per_sample(F&& run) {
  double best = 1e9;
  for (int r = 0; r < kRepetitions; ++r) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const auto end = std::chrono::steady_clock::now();
    best = std::min(best, std::chrono::duration<double, std::nano>(end - begin).count());
  }
  return best / kSamples;
}

struct Bench {
  int64_t n;
  int64_t seed = 3;
  float scale = 1;
  Noise<float> noise;
  Range range{0, 0, kSamples};
  std::vector<float> x, pivot, grad;
  std::vector<double> table;
  std::vector<uint32_t> counts;
  float* scratch;

  explicit Bench(int64_t n)
      : n(n),
        noise{Law::logistic, {Sampler::mc, false, kSamples, 1, nullptr}, &seed, kSamples,
              static_cast<uint32_t>(n), &scale, 0, 0, 0.0f},
        x(n),
        pivot(n),
        grad(n * n),
        table((n * n + 1) * jacobian_width(n, false)),
        counts(n * n + 1) {
    for (int64_t j = 0; j < n; ++j) x[j] = 0.1f * static_cast<float>(j % 7);
    for (int64_t k = 0; k < n * n; ++k) grad[k] = static_cast<float>(k % 5);
    const int64_t size = sort_scratch(n, n * n, jacobian_width(n, false)) + (n + 1) * (n + 1) * kQuads;
    scratch = static_cast<float*>(std::aligned_alloc(64, (size * sizeof(float) + 63) / 64 * 64));
  }
  ~Bench() { std::free(scratch); }

  void report(const char* what, double nanoseconds) const {
    std::printf("{\"kernel\": \"%s\", \"n\": %d, \"ns\": %.1f}\n", what, static_cast<int>(n),
                nanoseconds);
  }

  // The words of every sampler, and what every law makes of those of plain Monte Carlo.
  void draws() {
    const std::vector<uint32_t> directions(n * kDirectionBits, 0x9E3779B9u);
    std::vector<float> row(kLanes), score(kLanes), scale_weight(kLanes);
    uint32_t sum = 0;
#define X(name)                                                                               \
  report("words, " #name, time_per_sample([&] {                                               \
           const Points points{Sampler::name, false, kSamples, 8, directions.data()};         \
           for_each_block(range, [&](int64_t quad) {                                          \
             for_each_dimension(points, seed, n, 0, quad,                                     \
                                [&](int64_t, const uint32_t(&word)[kLanes]) { sum += word[0]; }); \
           });                                                                                \
         }));
    TORCHSMOOTH_SAMPLERS(X)
#undef X
    for (const bool pairs : {false, true}) {
#define X(type, name)                                                                      \
  report(pairs ? "words and weights, " #name ", pairs" : "words and weights, " #name,      \
         time_per_sample([&] {                                                             \
           Noise<float> other = noise;                                                     \
           other.law = Law::name;                                                          \
           other.pair_weight = pairs ? 0.1f : 0.0f;                                        \
           for_each_block(range, [&](int64_t quad) {                                       \
             for_each_dimension(other.points, seed, n, 0, quad,                            \
                                [&](int64_t, const uint32_t(&word)[kLanes]) {              \
                                  word_weights(other, word, row.data(), score.data(),      \
                                               scale_weight.data());                       \
                                });                                                        \
           });                                                                             \
         }));
      TORCHSMOOTH_LAWS(X)
#undef X
    }
    if (sum == 1) std::puts("");  // so that the words are not left out
  }

  void run() {
    draws();
    const Sorting all{SortOutput::matrix, false, 0, n}, first{SortOutput::matrix, true, 0, 1};
    const Sorting values{SortOutput::values, false, 0, n}, ranks{SortOutput::ranks, false, 0, n};
    SortedBlock<float> block(n, all, scratch);
    report("draw", time_per_sample([&] {
             for_each_block(range, [&](int64_t quad) { block.draw(noise, range, quad, x.data()); });
           }));
    report("draw and sort", time_per_sample([&] {
             for_each_block(range, [&](int64_t quad) {
               block.draw(noise, range, quad, x.data());
               block.sort();
             });
           }));
    matrix("argsort", all);
    matrix("argmax", first);
    vector("sort", values);
    vector("rank", ranks);
  }

  void matrix(const std::string& name, const Sorting& sorting) {
    report((name + ", forward").c_str(), time_per_sample([&] {
             sort_matrix(noise, range, sorting, x.data(), counts.data(), scratch);
           }));
    if (n <= 128) {
      report((name + ", with Jacobian").c_str(), time_per_sample([&] {
               sort_matrix_jacobian(noise, range, sorting, false, x.data(), table.data(), scratch);
             }));
    }
    backward(name, sorting);
  }

  void vector(const std::string& name, const Sorting& sorting) {
    report((name + ", forward").c_str(), time_per_sample([&] {
             sort_vector(noise, range, sorting, x.data(), pivot.data(), table.data(), scratch);
           }));
    if (n <= 128) {
      report((name + ", with Jacobian").c_str(), time_per_sample([&] {
               sort_vector_jacobian(noise, range, sorting, false, x.data(), pivot.data(),
                                    table.data(), scratch);
             }));
    }
    backward(name, sorting);
  }

  void backward(const std::string& name, const Sorting& sorting) {
    report((name + ", backward").c_str(), time_per_sample([&] {
             sort_backward(noise, range, sorting, false, x.data(), pivot.data(), grad.data(), 0.0f,
                           table.data(), scratch);
           }));
  }
};

}  // namespace torchsmooth::avx2

int main() {
  for (const int64_t n : {3, 5, 10, 32, 100}) torchsmooth::avx2::Bench(n).run();
}
