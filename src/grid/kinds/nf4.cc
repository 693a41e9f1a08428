// NormalFloat (QLoRA, 2305.14314): 16 levels that a normal variable of the right scale uses about
// equally often. Level values are normal quantiles, the largest scaled to 1; 8 probabilities on the
// positive side and 7 on the negative one run evenly from the tail to the median, which is the
// level 0 itself.
#include <algorithm>
#include <array>
#include <cmath>

#include "grid/levels.h"

namespace coldpress {
namespace {

// x with P(normal <= x) = p, for p in [0.5, 1): bisection down to double precision.
double normal_quantile(double p) {
  double lo = 0;
  double hi = 10;
  for (int k = 0; k < 80; ++k) {
    const double mid = 0.5 * (lo + hi);
    (0.5 * std::erfc(-mid / std::sqrt(2.0)) < p ? lo : hi) = mid;
  }
  return 0.5 * (lo + hi);
}

std::array<float, 16> make_levels() {
  // The outermost probability: the mean of those of 16 bins and of 15, half a bin from the end.
  constexpr double kTail = 1.0 - 0.5 * (1.0 / 32 + 1.0 / 30);
  const double largest = normal_quantile(kTail);
  std::array<float, 16> levels{};
  levels[7] = 0;
  for (int k = 0; k < 7; ++k) {
    const double p = kTail + (0.5 - kTail) * k / 7;
    levels[static_cast<std::size_t>(k)] = static_cast<float>(-normal_quantile(p) / largest);
  }
  for (int k = 0; k < 8; ++k) {
    const double p = kTail + (0.5 - kTail) * k / 8;
    levels[static_cast<std::size_t>(15 - k)] = static_cast<float>(normal_quantile(p) / largest);
  }
  return levels;
}

Status check(const GridOptions& o, int64_t cols) { return check_levels("nf4", o, cols); }

QuantGrid fit(const GridOptions& o, View2<const float> w, std::span<const float> h_diag) {
  static const std::array<float, 16> levels = make_levels();
  return fit_levels(levels, o, w, h_diag);
}

}  // namespace

extern const GridKind kGridKind_nf4;
const GridKind kGridKind_nf4 = {
    .name = "nf4",
    .summary = "the 16 NormalFloat levels with a scale per group or row",
    .fixed_bits = 4,
    .check = check,
    .fit = fit,
    .bits_per_weight = levels_bits_per_weight,
};

}  // namespace coldpress
