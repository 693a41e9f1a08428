// 4-bit floating point (grid/e2m1.h) with scales of a plain type.
#include "grid/e2m1.h"
#include "grid/levels.h"

namespace coldpress {
namespace {

Status check(const GridOptions& o, int64_t cols) { return check_levels("fp4", o, cols); }

QuantGrid fit(const GridOptions& o, View2<const float> w, std::span<const float> h_diag) {
  return fit_levels(kE2m1Levels, o, w, h_diag);
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
