// What every kind of grid shares when it fits ranges: groups, the clip search, the loop over rows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"
#include "base/view.h"
#include "grid/grid.h"

namespace coldpress {

// Columns per group: the whole row where the options say 0.
int64_t group_columns(const GridOptions& options, int64_t cols);
// Refuses a group that does not divide `cols`, naming some that do.
Status check_group(const GridOptions& options, int64_t cols);

// The least root of a column's weight over the largest of its unit: columns that are never active
// still get the nearer of two levels that else are equal.
inline constexpr float kLeastRoot = 1e-4F;

struct GroupRange {
  float scale;  // finite, > 0
  float zero;
};

// A scale that is 0, too small to invert or not finite becomes 1: such a group holds zeros, or
// values that no scale reaches.
bool is_usable_scale(float scale);

// The range of the ratio p in {1, 0.975, ... 0.40} with the least error (ALGORITHMS.md §3); of p =
// 1 without a search if clip is kNone. range(p) gives a GroupRange, error(range) its weighted
// error.
template <typename RangeOf, typename ErrorOf>
GroupRange search_clip(Clip clip, RangeOf range, ErrorOf error) {
  GroupRange best = range(1.0F);
  if (clip == Clip::kNone) return best;
  float least = error(best);
  for (int step = 1; step <= 24; ++step) {
    const GroupRange candidate = range(1.0F - 0.025F * static_cast<float>(step));
    const float e = error(candidate);
    if (e < least) {
      least = e;
      best = candidate;
    }
  }
  return best;
}

// Fills scale and zero of a grid whose other members are set: fit_group(w, h, n) gives the
// GroupRange of n consecutive weights with column weights h.
template <typename FitGroup>
void fit_groups(View2<const float> w, std::span<const float> h_diag, FitGroup fit_group,
                QuantGrid* grid) {
  const int64_t n = grid->group;
  grid->scale = MatrixF(w.rows, grid->groups());
  grid->zero = MatrixF(w.rows, grid->groups());
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t g = 0; g < grid->groups(); ++g) {
      const GroupRange r = fit_group(w.row(i) + g * n, h_diag.data() + g * n, n);
      grid->scale(i, g) = r.scale;
      grid->zero(i, g) = r.zero;
    }
  }
}

}  // namespace coldpress
