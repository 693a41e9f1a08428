#include "grid/levels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "grid/fit.h"
#include "grid/level_table.h"
#include "grid/scale_rule.h"

namespace coldpress {
namespace {

constexpr int kBits = 4;

// sum_j h_j (Q(w_j) - w_j)^2.
float weighted_error(const float* w, const float* h, int64_t n, float scale, LevelTable table) {
  const float inverse = 1.0F / scale;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < n; ++j) {
    const float e = scale * table.nearest(w[j] * inverse) - w[j];
    sum += h[j] * e * e;
  }
  return sum;
}

}  // namespace

Status check_levels(std::string_view kind, const GridOptions& o, int64_t cols) {
  if (o.bits != kBits) {
    return invalid_argument(fmt::format(
        "--grid {} is a table of 4-bit codes; use --bits 4 instead of --bits {}, or --grid affine",
        kind, o.bits));
  }
  if (o.symmetric) {
    return invalid_argument(fmt::format(
        "--symmetric is for --grid affine; the levels of --grid {} are fixed, so leave it out",
        kind));
  }
  return check_group(o, cols);
}

QuantGrid fit_levels(std::span<const float> levels, const GridOptions& o, View2<const float> w,
                     std::span<const float> h_diag) {
  QuantGrid grid;
  grid.rows = w.rows;
  grid.cols = w.cols;
  grid.group = group_columns(o, w.cols);
  grid.scale_rule.type = o.scale_type;
  grid.levels = static_cast<int>(levels.size());
  grid.level.assign(levels.begin(), levels.end());
  const LevelTable table(levels);
  const float bottom = -levels.front();
  const float top = levels.back();
  const auto fit_group = [&](const float* weights, const float* h, int64_t n) {
    float lo = 0;
    float hi = 0;
#pragma omp simd reduction(min : lo) reduction(max : hi)
    for (int64_t j = 0; j < n; ++j) {
      lo = std::min(lo, weights[j]);
      hi = std::max(hi, weights[j]);
    }
    const float widest = std::max(-lo / bottom, hi / top);
    return search_clip(
        o.clip,
        [&](float p) {
          const float scale = widest * p;
          return GroupRange{
              is_usable_scale(scale) ? storable_scale({.type = o.scale_type}, 1.0F, scale) : 1.0F,
              0.0F};
        },
        [&](GroupRange r) { return weighted_error(weights, h, n, r.scale, table); });
  };
  fit_groups(w, h_diag, fit_group, &grid);
  return grid;
}

double levels_bits_per_weight(const GridOptions& o, int64_t cols) {
  return kBits + scale_bits({.type = o.scale_type}) / static_cast<double>(group_columns(o, cols));
}

}  // namespace coldpress
