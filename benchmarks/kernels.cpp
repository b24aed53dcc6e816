// What one sample costs on one core, kernel by kernel: see kernels.py, which compiles and runs this.
// Prints one JSON object per line.
#define TORCHSMOOTH_ISA avx2
#define TORCHSMOOTH_AVX2 1
#define TORCHSMOOTH_FMA 1
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
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
  std::vector<std::vector<char>> memory;  // of the arrays, for as long as they are used

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
  }

  // The arrays that a kernel works in.
  template <class Scratch, class... Arguments>
  Scratch arrays(const Arguments&... arguments) {
    Arena measured;
    Scratch::layout(measured, arguments...);
    memory.emplace_back(measured.bytes() + Arena::kLine);
    void* begin = memory.back().data();
    std::size_t space = memory.back().size();
    Arena arena(static_cast<char*>(std::align(Arena::kLine, measured.bytes(), begin, space)));
    return Scratch::layout(arena, arguments...);
  }

  void report(const char* what, double nanoseconds) const {
    std::printf("{\"kernel\": \"%s\", \"n\": %d, \"ns\": %.1f}\n", what, static_cast<int>(n),
                nanoseconds);
  }

  // The words of every sampler, and what every law makes of those of plain Monte Carlo.
  void draws() {
    const std::vector<uint32_t> directions(n * kDirectionBits, 0x9E3779B9u);
    std::vector<float> row(kBlock), score(kBlock), scale_weight(kBlock);
    uint32_t sum = 0;
#define X(name)                                                                               \
  report("words, " #name, time_per_sample([&] {                                               \
           const Points points{Sampler::name, false, kSamples, 8, directions.data()};         \
           for_each_block(range, [&](int64_t quad) {                                          \
             for_each_dimension(points, seed, n, 0, quad,                                     \
                                [&](int64_t, const uint32_t(&word)[kBlock]) { sum += word[0]; }); \
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
                                [&](int64_t, const uint32_t(&word)[kBlock]) {              \
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
    SortedBlock<float> block(n, all, arrays<SortScratch<float>>(n));
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
    const auto scratch = arrays<SortMatrixScratch<float>>(n, sorting);
    report((name + ", forward").c_str(), time_per_sample([&] {
             sort_matrix(noise, range, sorting, x.data(), counts.data(), scratch);
           }));
    if (n <= 128) {
      const auto sums = arrays<SortMatrixJacobianScratch<float>>(n, sorting, false);
      report((name + ", with Jacobian").c_str(), time_per_sample([&] {
               sort_matrix_jacobian(noise, range, sorting, false, x.data(), table.data(), sums);
             }));
    }
    backward(name, sorting);
  }

  void vector(const std::string& name, const Sorting& sorting) {
    const auto scratch = arrays<SortVectorScratch<float>>(n, n);
    report((name + ", forward").c_str(), time_per_sample([&] {
             sort_vector(noise, range, sorting, x.data(), pivot.data(), table.data(), scratch);
           }));
    if (n <= 128) {
      const auto sums = arrays<SortVectorScratch<float>>(n, (n + 1) * (n + 1));
      report((name + ", with Jacobian").c_str(), time_per_sample([&] {
               sort_vector_jacobian(noise, range, sorting, false, x.data(), pivot.data(),
                                    table.data(), sums);
             }));
    }
    backward(name, sorting);
  }

  void backward(const std::string& name, const Sorting& sorting) {
    const auto scratch = arrays<SortVectorScratch<float>>(n, n);
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
