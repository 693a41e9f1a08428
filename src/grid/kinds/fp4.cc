// 4-bit floating point, E2M1: sign, two exponent bits, one mantissa bit. 15 values, since +0 and -0
// are one.
#include <array>

#include "grid/levels.h"

namespace coldpress {
namespace {

constexpr std::array<float, 15> kLevels = {-6.0F, -4.0F, -3.0F, -2.0F, -1.5F, -1.0F, -0.5F, 0.0F,
                                           0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F};

Status check(const GridOptions& o, int64_t cols) { return check_levels("fp4", o, cols); }

QuantGrid fit(const GridOptions& o, View2<const float> w, std::span<const float> h_diag) {
  return fit_levels(kLevels, o, w, h_diag);
}

}  // namespace

extern const GridKind kGridKind_fp4;
const GridKind kGridKind_fp4 = {
    .name = "fp4",
    .summary = "4-bit floats (E2M1) with a scale per group or row",
    .fixed_bits = 4,
    .check = check,
    .fit = fit,
    .bits_per_weight = levels_bits_per_weight,
};

}  // namespace coldpress
