#include "grid/level_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace coldpress {
namespace {

TEST(LevelTable, IsTheNearestLevelAndItsNumber) {
  Rng rng(1);
  for (std::size_t size = 1; size <= LevelTable::kMost; ++size) {
    std::vector<float> levels;
    for (std::size_t c = 0; c < size; ++c) {
      levels.push_back(static_cast<float>(3 * static_cast<double>(c) + rng.uniform()) - 20);
    }
    const LevelTable table(levels);
    for (int k = 0; k < 500; ++k) {
      const auto x = static_cast<float>(30 * rng.normal());
      std::size_t best = 0;
      for (std::size_t c = 1; c < size; ++c) {
        if (std::abs(levels[c] - x) < std::abs(levels[best] - x)) best = c;
      }
      ASSERT_EQ(table.nearest(x), levels[best]);
      ASSERT_EQ(table.code(x), best);
    }
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(table.nearest(kInfinity), levels.back());
    EXPECT_EQ(table.nearest(-kInfinity), levels.front());
    EXPECT_EQ(table.nearest(std::nanf("")), levels.front());
    EXPECT_EQ(table.code(std::nanf("")), 0U);
    EXPECT_EQ(table.code(kInfinity), size - 1);
  }
}

TEST(LevelTable, ATieGoesToTheLowerLevel) {
  const std::vector<float> levels = {-1, 0, 2};
  const LevelTable table(levels);
  EXPECT_EQ(table.nearest(-0.5F), -1.0F);
  EXPECT_EQ(table.nearest(1.0F), 0.0F);
  EXPECT_EQ(table.nearest(std::nextafter(1.0F, 2.0F)), 2.0F);
}

TEST(LevelTable, IsEmptyWithoutLevels) { EXPECT_TRUE(LevelTable().empty()); }

}  // namespace
}  // namespace coldpress
