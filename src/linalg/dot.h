// The product of two fp32 vectors, summed in fp64.
#pragma once

#include <cstdint>

namespace coldpress {

inline double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace coldpress
