#include "grid/grid.h"

#include <algorithm>
#include <cmath>

#include "grid/table.h"

namespace coldpress {

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
