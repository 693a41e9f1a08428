// The nearest of a few levels, without a branch: the form of a table grid's levels that inner loops
// want. For tables of at most 16 levels, which all table grids have.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include "base/check.h"

namespace coldpress {

class LevelTable {
 public:
  static constexpr std::size_t kMost = 16;

  // Ascending levels; none: an empty table, which nothing is nearest in.
  explicit LevelTable(std::span<const float> levels = {}) : size_(levels.size()) {
    COLDPRESS_CHECK(size_ <= kMost);
    threshold_.fill(std::numeric_limits<float>::infinity());
    for (std::size_t c = 0; c < size_; ++c) level_[c] = levels[c];
    for (std::size_t c = 0; c + 1 < size_; ++c) {
      threshold_[c] = 0.5F * (levels[c] + levels[c + 1]);
    }
    for (std::size_t c = size_; c > 0 && c < kMost; ++c) level_[c] = level_[size_ - 1];
  }

  bool empty() const { return size_ == 0; }
  float operator[](std::size_t code) const { return level_[code]; }

  // The level nearest to x: a tie goes to the lower one, NaN to the lowest. Made to be inlined into
  // loops over many x, where each comparison serves a whole vector of them.
  [[gnu::always_inline]] float nearest(float x) const {
    return nearest(x, std::make_index_sequence<kMost - 1>());
  }
  // Its number.
  std::size_t code(float x) const {
    std::size_t c = 0;
    while (c + 1 < size_ && x > threshold_[c]) ++c;
    return c;
  }

 private:
  template <std::size_t... kC>
  [[gnu::always_inline]] float nearest(float x, std::index_sequence<kC...>) const {
    float v = level_[0];
    ((v = x > threshold_[kC] ? level_[kC + 1] : v), ...);
    return v;
  }

  std::size_t size_;
  std::array<float, kMost> level_{};
  std::array<float, kMost - 1> threshold_{};
};

}  // namespace coldpress
