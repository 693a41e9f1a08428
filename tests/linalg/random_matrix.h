// What tests of products share.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "base/view.h"

namespace coldpress {

// Standard normals.
inline MatrixF random_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed);
  MatrixF m(rows, cols);
  for (int64_t k = 0; k < m.size(); ++k) m.data()[k] = static_cast<float>(rng.normal());
  return m;
}

// Bound of a length-k fp32 dot product of standard normals.
inline double tolerance(int64_t k) { return 1.2e-7 * static_cast<double>(k) * 4; }

}  // namespace coldpress
