#include "grid/block_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "grid/codebook.h"
#include "grid/fit.h"
#include "grid/level_table.h"
#include "grid/vector_fit.h"

namespace coldpress {
namespace {

constexpr int kRatios = 28;             // of the full range, tried for each group
constexpr float kLargestRatio = 1.05F;  // the first of them
constexpr float kRatioStep = 0.025F;
constexpr float kUpToTheNextPower = 1.5F;  // so that a power of two above the range is tried too
constexpr int kMoreRefinements = 8;        // of the best of them

// value = scale * level - offset.
struct GroupFit {
  float scale = 0;
  float offset = 0;
  float error = 0;
  float level_energy = 0;  // sum of h level^2: what an error of the scale costs
};

// What a fit needs of a format, and scratch for one group.
struct Fitter {
  const BlockFormat& format;
  const float* w;
  const float* h;
  std::vector<float> level;  // chosen, of each column
  LevelTable table;

  explicit Fitter(const BlockFormat& f)
      : format(f),
        w(nullptr),
        h(nullptr),
        level(static_cast<std::size_t>(f.group)),
        table(f.level) {}

  // Levels nearest to (w + offset) / scale, counted from the level of the value 0.
  void round(float scale, float offset) {
    const float inverse = 1.0F / scale;
    const int64_t n = format.group;
    const float shift = format.has_offset ? 0.0F : format.zero;
    if (format.level.empty()) {
      const float top = static_cast<float>(format.levels - 1);
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) {
        const float t = (w[j] + offset) * inverse + shift;
        level[static_cast<std::size_t>(j)] = std::min(std::max(0.0F, std::rint(t)), top) - shift;
      }
      return;
    }
    const LevelTable levels = table;
    float* out = level.data();
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) out[j] = levels.nearest(w[j] * inverse);
  }

  // With the levels fixed, the scale and offset of least error; the given ones where there are
  // none, and where storable scales lie too far apart to move freely.
  GroupFit refine(float scale, float offset) const {
    double hh = 0, hl = 0, hll = 0, hw = 0, hwl = 0, hww = 0;
    for (int64_t j = 0; j < format.group; ++j) {
      const double l = level[static_cast<std::size_t>(j)];
      const double weight = h[j];
      hh += weight;
      hl += weight * l;
      hll += weight * l * l;
      hw += weight * w[j];
      hwl += weight * w[j] * l;
      hww += weight * w[j] * w[j];
    }
    double s = scale;
    double o = offset;
    if (!format.has_offset) {
      if (hll > 0 && !format.scale.is_coarse()) s = hwl / hll;
    } else {
      const double determinant = hll * hh - hl * hl;
      if (determinant > 1e-9 * hll * hh) {
        s = (hwl * hh - hw * hl) / determinant;
        o = (hl * s - hw) / hh;
      }
      if (o < 0 && format.offset.has_units()) {  // only offsets from 0 up can be stored
        o = 0;
        if (hll > 0) s = hwl / hll;
      }
    }
    const double error = hww + s * s * hll + o * o * hh - 2 * s * hwl + 2 * o * hw - 2 * s * o * hl;
    GroupFit fit{static_cast<float>(s), static_cast<float>(o), static_cast<float>(error),
                 static_cast<float>(hll)};
    const bool can_be_negative =
        !format.scale.is_positive() && (!format.has_offset || !format.scale.has_units());
    if (!is_usable_scale(can_be_negative ? std::abs(fit.scale) : fit.scale) ||
        !std::isfinite(fit.offset))
      fit.error = HUGE_VALF;
    return fit;
  }

  GroupFit fit(const GridOptions& options, const float* weights, const float* h_diag);
};

// The best of many ranges, each refined once; then that one until its levels stay.
GroupFit Fitter::fit(const GridOptions& options, const float* weights, const float* h_diag) {
  w = weights;
  h = h_diag;
  float lo = weights[0];
  float hi = weights[0];
  float weight = 0;
  for (int64_t j = 0; j < format.group; ++j) {
    lo = std::min(lo, w[j]);
    hi = std::max(hi, w[j]);
    weight += h[j];
  }
  const std::vector<float> even(static_cast<std::size_t>(format.group), 1.0F);
  if (!(weight > 0)) h = even.data();  // inputs that are never active: plain distance
  GroupFit best;
  best.error = HUGE_VALF;
  const bool is_coarse = format.scale.is_coarse();
  const auto consider = [&](float scale, float offset) {
    if (!is_usable_scale(std::abs(scale))) return;
    if (is_coarse) scale = storable_scale(format.scale, 1.0F, scale);
    if (is_coarse && scale == best.scale) return;
    round(scale, offset);
    const GroupFit fit = refine(scale, offset);
    if (fit.error < best.error) best = fit;
  };
  const int ratios = options.clip == Clip::kNone ? 3 : kRatios;  // 1.05, 1.025, 1
  const float top = static_cast<float>(format.levels - 1);
  for (int k = 0; k < ratios; ++k) {
    const float p = kLargestRatio - kRatioStep * static_cast<float>(k);
    if (format.has_offset) {
      const float bottom = format.offset.has_units() ? std::min(lo, 0.0F) : lo;
      const float range = std::max(hi, bottom) - bottom;
      consider(range * p / top, -bottom);                              // shrunk from above,
      consider(range * p / top, -bottom - 0.5F * range * (1.0F - p));  // from both ends,
      consider(range * p / top, -bottom - range * (1.0F - p));         // from below
    } else {
      const float below = format.level.empty() ? format.zero : -format.level.front();
      const float above = format.level.empty() ? top - format.zero : format.level.back();
      const float widest = std::max(hi, -lo);
      const bool either_sign = format.scale.lo < 0 || !format.scale.has_units();
      if (is_coarse) consider(widest * p / below * kUpToTheNextPower, 0);
      consider(widest * p / below, 0);
      if (either_sign && !format.scale.is_positive()) consider(-widest * p / below, 0);
      consider(widest * p / above, 0);
    }
  }
  if (best.error == HUGE_VALF) return {};
  for (int k = 0; k < kMoreRefinements; ++k) {
    const float before = best.error;
    consider(best.scale, best.offset);
    if (!(best.error < before)) break;
  }
  return best;
}

// Units for the groups of a row, or 1 where each group has its own number.
void fit_units(const ScaleRule& rule, const std::vector<float>& values,
               const std::vector<float>& weights, float* units) {
  const auto count = static_cast<std::size_t>(rule.groups_per_unit);
  for (std::size_t u = 0; u * count < values.size(); ++u) {
    units[u] =
        choose_unit(rule, {values.data() + u * count, count}, {weights.data() + u * count, count});
  }
}

}  // namespace

Status check_blocks(const BlockFormat& format, const GridOptions& o, int64_t cols) {
  if (o.bits != format.bits) {
    return invalid_argument(
        fmt::format("--grid {} has {} bits per code; use --bits {} instead of --bits {}",
                    format.name, format.bits, format.bits, o.bits));
  }
  if (o.symmetric || (o.group != 0 && o.group != format.group)) {
    return invalid_argument(
        fmt::format("--grid {} has groups of {} of its own; leave --group and --symmetric out",
                    format.name, format.group));
  }
  if (cols % format.block != 0) {
    return invalid_argument(
        fmt::format("--grid {} stores blocks of {} columns, which {} columns are not", format.name,
                    format.block, cols));
  }
  return {};
}

QuantGrid fit_blocks(const BlockFormat& format, const GridOptions& options, View2<const float> w,
                     std::span<const float> h_diag, const Codebook* book) {
  QuantGrid grid;
  grid.rows = w.rows;
  grid.cols = w.cols;
  grid.group = format.group;
  grid.levels = format.levels;
  grid.level.assign(format.level.begin(), format.level.end());
  grid.book = book;
  if (book != nullptr) grid.level.assign(book->levels().begin(), book->levels().end());
  COLDPRESS_CHECK(grid.level.empty() || std::ssize(grid.level) == grid.levels);
  grid.scale_rule = format.scale;
  grid.has_offset = format.has_offset;
  grid.offset_rule = format.offset;
  const int64_t groups = grid.groups();
  grid.scale = MatrixF(w.rows, groups);
  grid.zero = MatrixF(w.rows, groups);
  if (format.scale.has_units()) grid.unit = MatrixF(w.rows, groups / format.scale.groups_per_unit);
  if (format.offset.has_units()) {
    grid.offset_unit = MatrixF(w.rows, groups / format.offset.groups_per_unit);
  }
  // A group of zeros takes any scale on which 0 is a level, else the smallest.
  const bool has_zero = grid.level.empty() ||
                        std::find(grid.level.begin(), grid.level.end(), 0.0F) != grid.level.end();
  const float scale_of_zeros = has_zero ? 0.0F : std::numeric_limits<float>::min();
  Fitter fitter(format);
  std::optional<VectorFitter> vectors;
  if (book != nullptr) vectors.emplace(*book, format.group);
  const auto size = static_cast<std::size_t>(groups);
  std::vector<float> scales(size);
  std::vector<float> offsets(size);
  std::vector<float> scale_weights(size);
  const std::vector<float> offset_weights(size, 1.0F);
  for (int64_t i = 0; i < w.rows; ++i) {
    for (std::size_t g = 0; g < size; ++g) {
      const auto first = static_cast<int64_t>(g) * format.group;
      GroupFit fit;
      if (vectors.has_value()) {
        const auto [scale, weight] =
            vectors->fit(w.row(i) + first, h_diag.data() + first, options.clip == Clip::kNone);
        fit.scale = scale;
        fit.level_energy = weight;
      } else {
        fit = fitter.fit(options, w.row(i) + first, h_diag.data() + first);
      }
      scales[g] = fit.scale != 0 ? fit.scale : scale_of_zeros;
      offsets[g] = fit.offset;
      scale_weights[g] = fit.level_energy;
    }
    if (format.scale.has_units()) fit_units(format.scale, scales, scale_weights, grid.unit.row(i));
    if (format.offset.has_units()) {
      fit_units(format.offset, offsets, offset_weights, grid.offset_unit.row(i));
    }
    for (int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<std::size_t>(g);
      const float unit =
          format.scale.has_units() ? grid.unit(i, g / format.scale.groups_per_unit) : 1.0F;
      const float wanted = scales[at] != 0 ? scales[at] : 1.0F;
      if (vectors.has_value()) {
        grid.scale(i, g) = vectors->best_multiple(format.scale, unit, w.row(i) + g * format.group,
                                                  h_diag.data() + g * format.group);
      } else {
        grid.scale(i, g) = storable_scale(format.scale, unit, wanted);
      }
      grid.zero(i, g) = format.zero;
      if (!format.has_offset) continue;
      const float offset_unit =
          format.offset.has_units() ? grid.offset_unit(i, g / format.offset.groups_per_unit) : 1.0F;
      grid.zero(i, g) = storable_offset(format.offset, offset_unit, offsets[at]) / grid.scale(i, g);
    }
  }
  return grid;
}

Matrix<std::byte> encode_blocks(const BlockFormat& format, const QuantGrid& grid,
                                View2<const uint8_t> codes) {
  COLDPRESS_CHECK(codes.rows == grid.rows && codes.cols == grid.cols);
  const int64_t blocks = grid.cols / format.block;
  const int64_t per_block = format.block / format.group;
  Matrix<std::byte> out(grid.rows, blocks * format.block_bytes);
  std::vector<int> scale(static_cast<std::size_t>(per_block), 1);
  std::vector<int> offset(scale);
  const VectorFormat& vectors = format.vectors;
  std::vector<uint16_t> words(
      vectors.words > 0 ? static_cast<std::size_t>(format.block / vectors.length) : 0);
  std::vector<uint8_t> signs(
      vectors.words > 0 ? static_cast<std::size_t>(format.block / Codebook::kUnit) : 0);
  for (int64_t i = 0; i < grid.rows; ++i) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = b * per_block;
      const uint8_t* block = codes.row(i) + b * format.block;
      for (int64_t u = 0; u < std::ssize(signs); ++u) {
        signs[static_cast<std::size_t>(u)] = grid.book->parts(
            block + u * Codebook::kUnit, words.data() + u * Codebook::kUnit / vectors.length);
      }
      BlockParts parts{block,        words.data(),  signs.data(),         grid.scale.row(i) + first,
                       scale.data(), offset.data(), grid.scale(i, first), 0};
      if (format.scale.has_units()) {
        parts.unit = grid.unit(i, first / format.scale.groups_per_unit);
        for (int64_t g = 0; g < per_block; ++g) {
          scale[static_cast<std::size_t>(g)] =
              static_cast<int>(std::lrint(grid.scale(i, first + g) / parts.unit));
        }
      }
      if (format.has_offset) {
        const auto value = [&](int64_t g) { return grid.scale(i, g) * grid.zero(i, g); };
        if (!format.offset.has_units()) {
          parts.offset_unit = storable_offset(format.offset, 1.0F, value(first));
        } else {
          parts.offset_unit = grid.offset_unit(i, first / format.offset.groups_per_unit);
          for (int64_t g = 0; g < per_block; ++g) {
            offset[static_cast<std::size_t>(g)] =
                static_cast<int>(std::lrint(value(first + g) / parts.offset_unit));
          }
        }
      }
      format.pack(parts, out.row(i) + b * format.block_bytes);
    }
  }
  return out;
}

}  // namespace coldpress
