// What the two ways to refit scales (solver/refit.h, solver/scale_sweep.h) share.
#pragma once

#include <cstdint>

#include "base/view.h"

namespace coldpress {

// A scale further away than this factor is not believed. Neither is 0.
inline bool is_believable_move(double from, double to) {
  constexpr double kLargestMove = 4;
  const double a = from < 0 ? -from : from;
  const double b = from < 0 ? -to : to;
  return b * kLargestMove > a && b < kLargestMove * a;
}

// out[i] += sum over rows j of a(j, i) b(j, i).
inline void add_dots(View2<const float> a, View2<const float> b, float* out) {
  for (int64_t j = 0; j < a.rows; ++j) {
    const float* x = a.row(j);
    const float* y = b.row(j);
#pragma omp simd
    for (int64_t i = 0; i < a.cols; ++i) out[i] += x[i] * y[i];
  }
}

}  // namespace coldpress
