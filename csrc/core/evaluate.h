// The functions of a law by name, for tables and tests.
#pragma once

#include "laws.h"

namespace torchsmooth {

enum class Function : int32_t { icdf, cdf, log_prob, score };

template <class T, class L>
TS_HD T evaluate(L, Function function, T x) {
  switch (function) {
    case Function::icdf:
      return L::draw(Uniform<T>{x > T(0.5) ? T(1) - x : x, x > T(0.5)}).noise;
    case Function::cdf:
      return L::cdf(x);
    case Function::log_prob:
      return L::log_prob(x);
    case Function::score:
      return L::score(x);
  }
  return x;
}

}  // namespace torchsmooth
