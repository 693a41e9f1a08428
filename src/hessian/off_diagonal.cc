#include "hessian/off_diagonal.h"

#include <algorithm>

namespace coldpress {

double off_diagonal_share(int64_t n, int64_t tokens) {
  constexpr double kMost = 0.5;
  constexpr double kPerColumn = 10;
  if (tokens <= 0) return kMost;
  return std::min(kMost, kPerColumn * static_cast<double>(n) / static_cast<double>(tokens));
}

void shrink_off_diagonal(View2<float> h, double share) {
  const auto kept = static_cast<float>(1 - share);
  for (int64_t i = 0; i < h.rows; ++i) {
    const float diagonal = h(i, i);
    for (int64_t j = 0; j < h.cols; ++j) h(i, j) *= kept;
    h(i, i) = diagonal;
  }
}

}  // namespace coldpress
