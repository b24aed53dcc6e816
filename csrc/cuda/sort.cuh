// Sorting in three files, so that compilers can work on them side by side: few elements (a thread
// sorts a sample in its registers), many elements (a block sorts samples in its shared memory), and
// what both share.
#pragma once

#include "../ops/sort.h"
#include "device.cuh"

namespace torchsmooth {

// Up to so many elements are few.
constexpr int kFew = 8;

// Whether the kernels for few elements can sort n numbers of `bytes` each, with `weights` kinds of
// weights of f (0, 1 or 2). On GPUs with little shared memory a block has no room for all of
// float64; then the kernels for many elements sort them.
bool are_few(int64_t n, int64_t bytes, int weights, const Tensor& device);

// What both ops know; passed by value to the kernels.
template <class T>
struct SortCall {
  Noise<T> noise;
  Sorting sorting;
  int64_t elements;
  int64_t outcomes;  // numbers that one sample gives
  const T* x;        // [B, n]
  // Values and ranks are counted from those of the unperturbed x, [B, outcomes]; null: from 0.
  const T* pivot;

  // The kernels sort in ascending order what has this sign: a comparison is then one instruction,
  // and the sign costs none.
  TS_HD T sign() const { return sorting.descending ? T(-1) : T(1); }
};

// What a gradient is made of besides.
template <class T>
struct Upstream {
  const T* grad;    // [B, outcomes]
  const T* center;  // [B]: what is subtracted from a sample's sum of grad * (outcome - pivot)
  bool scale;       // whether the scale's gradient is wanted too
};

// Sums of outcome - pivot over the samples, [B, chunks, outcomes]: doubles, or int32 counts of
// where the ones of the matrices are. `x`: the tensor itself, which says where all happens.
Tensor sum_few(const SortCall<float>& call, const Tensor& x);
Tensor sum_few(const SortCall<double>& call, const Tensor& x);
Tensor sum_many(const SortCall<float>& call, const Tensor& x);
Tensor sum_many(const SortCall<double>& call, const Tensor& x);

// With g = sum of grad * (outcome - pivot) - center: sums of g * weight over the samples, doubles
// [B, chunks, n or 2 n], n scores and then, if asked for, n scale weights.
Tensor sum_few_weights(const SortCall<float>& call, const Upstream<float>& upstream,
                       const Tensor& x);
Tensor sum_few_weights(const SortCall<double>& call, const Upstream<double>& upstream,
                       const Tensor& x);
Tensor sum_many_weights(const SortCall<float>& call, const Upstream<float>& upstream,
                        const Tensor& x);
Tensor sum_many_weights(const SortCall<double>& call, const Upstream<double>& upstream,
                        const Tensor& x);

}  // namespace torchsmooth
