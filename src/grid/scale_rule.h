// Which numbers a stored scale or offset can be.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace coldpress {

struct ScaleRule {
  // Of the number, or of its unit: F32, F16 or BF16. Of numbers from above 0 also F8_E4M3, and U8
  // for a power of two (E8M0).
  DType type = DType::kF32;
  int64_t groups_per_unit = 0;  // so many groups share a unit, of which each has an integer
                                // multiple in [lo, hi]; 0: no units
  int lo = 0;
  int hi = 0;
  int step = 1;  // multiples are lo, lo + step, ..., hi

  bool has_units() const { return groups_per_unit > 0; }
  // Only numbers above 0 can be stored.
  bool is_positive() const { return lo > 0 || is_coarse(); }
  // Numbers lie so far apart that a search has to try them one by one.
  bool is_coarse() const { return type == DType::kF8E4M3 || type == DType::kU8; }
  // Without a rounding that a solver would have to know of.
  bool is_exact() const { return type == DType::kF32 && !has_units(); }
  bool operator==(const ScaleRule&) const = default;
};

// The storable number nearest to `x`, on the group's `unit` if the rule has units. A scale is never
// 0 and never infinite: beyond the range of its type it is the smallest or largest value.
float storable_scale(const ScaleRule& rule, float unit, float x);
// The same for an offset, which may be 0.
float storable_offset(const ScaleRule& rule, float unit, float x);

// The unit with the least sum of weight * error^2 over the groups that share it, when each value is
// rounded to a multiple. Values of 0 do not count; 1 if there are no others.
float choose_unit(const ScaleRule& rule, std::span<const float> values,
                  std::span<const float> weights);

// Bits of one stored number, its share of the unit included.
double scale_bits(const ScaleRule& rule);

}  // namespace coldpress
