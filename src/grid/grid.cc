#include "grid/grid.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "grid/codebook.h"
#include "grid/fit.h"
#include "grid/table.h"

namespace coldpress {
namespace {

constexpr auto kUnit = static_cast<std::size_t>(Codebook::kUnit);
constexpr float kFarBeyondLevels = 1e4F;

// One unit of columns from `first` on, as lane `lane` of a search.
void take_unit(const QuantGrid& grid, const float* w, const float* scale, const float* h_diag,
               int64_t first, int64_t lane, Codebook::Unit* target, Codebook::Unit* step) {
  std::array<double, kUnit> weight{};
  double largest = 0;
  for (std::size_t j = 0; j < kUnit; ++j) {
    const int64_t column = first + static_cast<int64_t>(j);
    const double s = scale[column / grid.group];
    weight[j] = h_diag[column] * s * s;
    largest = std::max(largest, weight[j]);
  }
  for (std::size_t j = 0; j < kUnit; ++j) {
    const int64_t column = first + static_cast<int64_t>(j);
    const float level = w[column] / scale[column / grid.group];
    float root = 1;
    if (largest > 0 && std::isfinite(largest)) {
      root = std::max(kLeastRoot, static_cast<float>(std::sqrt(weight[j] / largest)));
    }
    (*target)[j][lane] = root * std::min(std::max(-kFarBeyondLevels, level), kFarBeyondLevels);
    (*step)[j][lane] = root;
  }
}

// The units of a row, kLanes at a time.
void round_row(const QuantGrid& grid, const float* w, const float* scale, const float* h_diag,
               uint8_t* codes) {
  const int64_t units = grid.cols / Codebook::kUnit;
  for (int64_t at = 0; at < units; at += kLanes) {
    const int64_t count = std::min(kLanes, units - at);
    Codebook::Unit target{};
    Codebook::Unit step{};
    for (int64_t i = 0; i < count; ++i) {
      take_unit(grid, w, scale, h_diag, (at + i) * Codebook::kUnit, i, &target, &step);
    }
    Codebook::Unit level;
    grid.book->nearest(target, step, &level);
    for (int64_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < kUnit; ++j) {
        codes[(at + i) * Codebook::kUnit + static_cast<int64_t>(j)] = grid.book->code(level[j][i]);
      }
    }
  }
}

}  // namespace

QuantGrid QuantGrid::shell(int64_t rows_wanted) const {
  QuantGrid g;
  g.rows = rows_wanted;
  g.cols = cols;
  g.group = group;
  g.levels = levels;
  g.zero_is_free = zero_is_free;
  g.scale_rule = scale_rule;
  g.offset_rule = offset_rule;
  g.has_offset = has_offset;
  g.level = level;
  g.book = book;
  g.scale = MatrixF(rows_wanted, scale.cols());
  g.zero = MatrixF(rows_wanted, zero.cols());
  g.unit = MatrixF(rows_wanted, unit.cols());
  g.offset_unit = MatrixF(rows_wanted, offset_unit.cols());
  return g;
}

void QuantGrid::take_rows(const QuantGrid& from, int64_t at) {
  const auto take = [at](const MatrixF& source, MatrixF* target) {
    if (source.size() > 0) std::copy_n(source.data(), source.size(), target->row(at));
  };
  take(from.scale, &scale);
  take(from.zero, &zero);
  take(from.unit, &unit);
  take(from.offset_unit, &offset_unit);
}

QuantGrid QuantGrid::clone() const {
  QuantGrid g = shell(rows);
  g.take_rows(*this, 0);
  return g;
}

uint8_t project(const QuantGrid& grid, int64_t i, int64_t j, float w) {
  COLDPRESS_CHECK(grid.book == nullptr);
  const int64_t g = j / grid.group;
  const float t = w / grid.scale(i, g) + grid.zero(i, g);
  if (grid.level.empty()) {
    // max(0, NaN) is 0.
    return static_cast<uint8_t>(
        std::min(std::max(0.0F, std::nearbyint(t)), static_cast<float>(grid.levels - 1)));
  }
  std::size_t c = 0;
  while (c + 1 < grid.level.size() && t > 0.5F * (grid.level[c] + grid.level[c + 1])) ++c;
  return static_cast<uint8_t>(c);
}

Matrix<uint8_t> round_to_grid(const QuantGrid& grid, View2<const float> w,
                              std::span<const float> h_diag, int64_t row0) {
  COLDPRESS_CHECK(w.cols == grid.cols && row0 + w.rows <= grid.rows);
  Matrix<uint8_t> codes(w.rows, w.cols);
  for (int64_t i = 0; i < w.rows; ++i) {
    if (grid.book != nullptr) {
      round_row(grid, w.row(i), grid.scale.row(row0 + i), h_diag.data(), codes.row(i));
      continue;
    }
    for (int64_t j = 0; j < w.cols; ++j) codes(i, j) = project(grid, row0 + i, j, w(i, j));
  }
  return codes;
}

void decode(const QuantGrid& grid, View2<const uint8_t> codes, View2<float> out) {
  COLDPRESS_CHECK(codes.rows == grid.rows && codes.cols == grid.cols);
  COLDPRESS_CHECK(out.rows == grid.rows && out.cols == grid.cols);
  for (int64_t i = 0; i < grid.rows; ++i) {
    for (int64_t j = 0; j < grid.cols; ++j) out(i, j) = grid.value(i, j, codes(i, j));
  }
}

Result<const GridKind*> find_grid(std::string_view name) {
  std::string known;
  for (const GridKind* kind : grid_table()) {
    if (kind->name == name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind->name);
  }
  return invalid_argument("unknown grid '" + std::string(name) + "'; known: " + known);
}

}  // namespace coldpress
