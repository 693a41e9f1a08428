// Affine integer grids: scale * (c - zero), c in [0, 2^bits - 1], integer zero. Symmetric grids fix
// the zero at the middle code 2^(bits-1). Ranges are [min, max] with 0 inside, or the clipped range
// with the least diagonal-Hessian error (ALGORITHMS.md §3).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "grid/fit.h"
#include "grid/grid.h"
#include "grid/scale_rule.h"

namespace coldpress {
namespace {

Status check(const GridOptions& o, int64_t cols) {
  if (o.bits < 2 || o.bits > 8) {
    return invalid_argument(fmt::format("--bits {} is not possible; use 2 to 8", o.bits));
  }
  return check_group(o, cols);
}

// The grid of a range [lo, hi] that contains 0. A range too small (or not) to be a scale gives 1.
GroupRange range_to_grid(float lo, float hi, const GridOptions& o) {
  const float top = static_cast<float>((1 << o.bits) - 1);
  const float middle = static_cast<float>(1 << (o.bits - 1));
  float scale = o.symmetric ? 2.0F * (std::max(-lo, hi) / top) : hi / top - lo / top;
  if (!is_usable_scale(scale)) return {1.0F, o.symmetric ? middle : 0.0F};
  scale = storable_scale({.type = o.scale_type}, 1.0F, scale);
  if (o.symmetric) return {scale, middle};
  return {scale, std::clamp(std::nearbyint(-lo / scale), 0.0F, top)};
}

// sum_j h_j (Q(w_j) - w_j)^2.
float weighted_error(const float* w, const float* h, int64_t n, GroupRange r, float top) {
  const float inverse = 1.0F / r.scale;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    const float c = std::min(std::max(std::rint(w[j] * inverse + r.zero), 0.0F), top);
    const float e = r.scale * (c - r.zero) - w[j];
    sum += h[j] * e * e;
  }
  return sum;
}

GroupRange fit_group(const GridOptions& o, const float* w, const float* h, int64_t n) {
  float lo = 0;
  float hi = 0;
#pragma omp simd reduction(min : lo) reduction(max : hi)
  for (int64_t j = 0; j < n; ++j) {
    lo = std::min(lo, w[j]);
    hi = std::max(hi, w[j]);
  }
  const float top = static_cast<float>((1 << o.bits) - 1);
  return search_clip(
      o.clip, [&](float p) { return range_to_grid(lo * p, hi * p, o); },
      [&](GroupRange r) { return weighted_error(w, h, n, r, top); });
}

QuantGrid fit(const GridOptions& o, View2<const float> w, std::span<const float> h_diag) {
  QuantGrid grid;
  grid.rows = w.rows;
  grid.cols = w.cols;
  grid.group = group_columns(o, w.cols);
  grid.scale_rule.type = o.scale_type;
  grid.levels = 1 << o.bits;
  grid.zero_is_free = !o.symmetric;
  fit_groups(
      w, h_diag, [&](const float* x, const float* h, int64_t n) { return fit_group(o, x, h, n); },
      &grid);
  return grid;
}

// Scales, and zeros of `bits` bits unless the grid is symmetric.
double bits_per_weight(const GridOptions& o, int64_t cols) {
  const double per_group = scale_bits({.type = o.scale_type}) + (o.symmetric ? 0.0 : o.bits);
  return o.bits + per_group / static_cast<double>(group_columns(o, cols));
}

}  // namespace

extern const GridKind kGridKind_affine;
const GridKind kGridKind_affine = {
    .name = "affine",
    .summary = "integers with a scale and a zero per group or row",
    .fixed_bits = 0,
    .check = check,
    .fit = fit,
    .bits_per_weight = bits_per_weight,
};

}  // namespace coldpress
