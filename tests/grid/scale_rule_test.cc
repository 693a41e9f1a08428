#include "grid/scale_rule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "grid/table.h"

namespace coldpress {
namespace {

TEST(ScaleRule, RoundsToTheNearestStorableValue) {
  EXPECT_EQ(storable_scale({.type = DType::kF32}, 1.0F, 0.1F), 0.1F);
  EXPECT_EQ(storable_scale({.type = DType::kF16}, 1.0F, 1.0F + 0x1p-11F),
            1.0F);  // a tie goes to even
  EXPECT_EQ(storable_scale({.type = DType::kF16}, 1.0F, 1.0F + 0x1.8p-11F), 1.0F + 0x1p-10F);
  EXPECT_EQ(storable_scale({.type = DType::kBF16}, 1.0F, 1.0F + 0x1.8p-8F), 1.0F + 0x1p-7F);
}

TEST(ScaleRule, StaysInsideTheRangeOfItsType) {
  EXPECT_EQ(storable_scale({.type = DType::kF16}, 1.0F, 1e-30F), 0x1p-24F);
  EXPECT_EQ(storable_scale({.type = DType::kF16}, 1.0F, 1e30F), 65504.0F);
  EXPECT_GT(storable_scale({.type = DType::kBF16}, 1.0F, 1e-40F), 0.0F);
  EXPECT_TRUE(std::isfinite(storable_scale({.type = DType::kBF16}, 1.0F, 3.4e38F)));
}

TEST(ScaleRule, MultiplesMayGoInSteps) {
  const ScaleRule odd{.type = DType::kF16, .groups_per_unit = 2, .lo = 1, .hi = 31, .step = 2};
  EXPECT_TRUE(odd.is_positive());
  EXPECT_EQ(storable_scale(odd, 0.5F, 0.9F), 0.5F);
  EXPECT_EQ(storable_scale(odd, 0.5F, 1.1F), 1.5F);
  EXPECT_EQ(storable_scale(odd, 0.5F, -7.0F), 0.5F);
  EXPECT_EQ(storable_scale(odd, 0.5F, 99.0F), 15.5F);
  EXPECT_EQ(scale_bits(odd), 4.0 + 16.0 / 2);
  const std::vector<float> values = {0.25F * 31, 0.25F * 7};
  EXPECT_EQ(choose_unit(odd, values, std::vector<float>{1, 1}), 0.25F);
}

TEST(ScaleRule, EightBitTypesHoldOnlyNumbersAbove0) {
  const ScaleRule e4m3{.type = DType::kF8E4M3};
  EXPECT_TRUE(e4m3.is_positive());
  EXPECT_EQ(storable_scale(e4m3, 1.0F, 0.0F), 0x1p-9F);
  EXPECT_EQ(storable_scale(e4m3, 1.0F, -3.0F), 0x1p-9F);
  EXPECT_EQ(storable_scale(e4m3, 1.0F, 0x1.6p-8F), 0x1.8p-8F);  // steps of 2^-9 below 2^-6
  EXPECT_EQ(storable_scale(e4m3, 1.0F, 1.0F + 0x1p-4F), 1.0F);  // a tie goes to even
  EXPECT_EQ(storable_scale(e4m3, 1.0F, 1.97F), 2.0F);
  EXPECT_EQ(storable_scale(e4m3, 1.0F, 1e9F), 448.0F);
  const ScaleRule power{.type = DType::kU8};
  EXPECT_TRUE(power.is_positive());
  EXPECT_EQ(storable_scale(power, 1.0F, 0.74F), 0.5F);
  EXPECT_EQ(storable_scale(power, 1.0F, 0.76F), 1.0F);
  EXPECT_EQ(storable_scale(power, 1.0F, 1.0F), 1.0F);
  EXPECT_GT(storable_scale(power, 1.0F, 0.0F), 0.0F);
  EXPECT_TRUE(std::isfinite(6 * storable_scale(power, 1.0F, 3.4e38F)));
  EXPECT_EQ(scale_bits(power), 8.0);
}

TEST(ScaleRule, EveryGridStoresScalesOfItsTypeAndCountsTheirBits) {
  Rng rng(3);
  MatrixF w(6, 64);
  for (int64_t k = 0; k < w.size(); ++k) w.data()[k] = static_cast<float>(rng.normal());
  const std::vector<float> h(64, 1.0F);
  for (const GridKind* kind : grid_table()) {
    if (kind->block != nullptr) continue;  // has a type of its own
    GridOptions o{.kind = std::string(kind->name), .bits = 4, .group = 16};
    for (const DType type : {DType::kF16, DType::kBF16, DType::kF32}) {
      o.scale_type = type;
      const QuantGrid g = kind->fit(o, w.view(), h);
      EXPECT_EQ(g.scale_rule.type, type);
      for (int64_t k = 0; k < g.scale.size(); ++k) {
        EXPECT_EQ(g.scale.data()[k], storable_scale(g.scale_rule, 1.0F, g.scale.data()[k]))
            << kind->name;
      }
    }
    const double wide = kind->bits_per_weight(o, 64);
    o.scale_type = DType::kF16;
    EXPECT_DOUBLE_EQ(wide - kind->bits_per_weight(o, 64), 1.0) << kind->name;  // 16 bits per 16
  }
}

}  // namespace
}  // namespace coldpress
