// The table grids nf4 and fp4.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "base/rng.h"
#include "grid/table.h"

namespace coldpress {
namespace {

constexpr int64_t kWidth = 32;

MatrixF weights(int64_t rows, uint64_t seed) {
  Rng rng(seed);
  MatrixF w(rows, kWidth);
  for (int64_t k = 0; k < w.size(); ++k) w.data()[k] = static_cast<float>(rng.normal());
  return w;
}

class LevelGrid : public ::testing::TestWithParam<const char*> {
 protected:
  static const GridKind& kind() { return **find_grid(GetParam()); }
  static QuantGrid fit(const MatrixF& w, GridOptions o = {}) {
    o.kind = GetParam();
    return kind().fit(o, w.view(), std::vector<float>(kWidth, 1.0F));
  }
};

TEST_P(LevelGrid, LevelsAscendAndHoldZeroAndEqualExtremes) {
  const QuantGrid g = fit(weights(1, 1));
  ASSERT_EQ(g.levels, static_cast<int>(g.level.size()));
  EXPECT_TRUE(std::is_sorted(g.level.begin(), g.level.end()));
  EXPECT_EQ(std::adjacent_find(g.level.begin(), g.level.end()), g.level.end());
  EXPECT_EQ(std::count(g.level.begin(), g.level.end(), 0.0F), 1);
  EXPECT_EQ(-g.level.front(), g.level.back());
  EXPECT_FALSE(g.zero_is_free);
}

TEST_P(LevelGrid, ProjectsToTheNearestLevel) {
  const MatrixF w = weights(3, 2);
  const QuantGrid g = fit(w, {.group = 16});
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < kWidth; ++j) {
      const float got = std::abs(g.value(i, j, project(g, i, j, w(i, j))) - w(i, j));
      for (int c = 0; c < g.levels; ++c) {
        EXPECT_LE(got, std::abs(g.value(i, j, static_cast<uint8_t>(c)) - w(i, j)) + 1e-6F);
      }
    }
  }
}

TEST_P(LevelGrid, UnclippedRangeReachesTheLargestWeightExactly) {
  const MatrixF w = weights(4, 3);
  const QuantGrid g = fit(w, {.group = 8, .clip = Clip::kNone, .scale_type = DType::kF32});
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t b = 0; b < g.groups(); ++b) {
      float largest = 0;
      for (int64_t j = b * 8; j < b * 8 + 8; ++j) largest = std::max(largest, std::abs(w(i, j)));
      EXPECT_NEAR(g.scale(i, b) * g.level.back(), largest, 1e-6F * largest);
      EXPECT_EQ(g.zero(i, b), 0.0F);
    }
  }
}

TEST_P(LevelGrid, ClippingNeverRaisesTheErrorAndTriesTheSameRatiosAsAffine) {
  const MatrixF w = weights(16, 4);
  const QuantGrid none = fit(w, {.clip = Clip::kNone, .scale_type = DType::kF32});
  const QuantGrid clipped = fit(w, {.scale_type = DType::kF32});
  const auto error = [&](const QuantGrid& g, int64_t i) {
    double f = 0;
    for (int64_t j = 0; j < kWidth; ++j) {
      const double e = static_cast<double>(g.value(i, j, project(g, i, j, w(i, j)))) - w(i, j);
      f += e * e;
    }
    return f;
  };
  int shrunk = 0;
  for (int64_t i = 0; i < 16; ++i) {
    EXPECT_LE(error(clipped, i), error(none, i) * (1 + 1e-6));
    const double steps = (1 - clipped.scale(i, 0) / none.scale(i, 0)) / 0.025;
    EXPECT_NEAR(steps, std::round(steps), 1e-3);
    EXPECT_LE(steps, 24.001);
    shrunk += steps > 0.5 ? 1 : 0;
  }
  EXPECT_GT(shrunk, 0);
}

TEST_P(LevelGrid, GroupOfZerosHasScaleOneAndTheZeroLevel) {
  const QuantGrid g = fit(MatrixF(2, kWidth), {.group = 8});
  for (int64_t k = 0; k < g.scale.size(); ++k) EXPECT_EQ(g.scale.data()[k], 1.0F);
  EXPECT_EQ(g.value(1, 3, project(g, 1, 3, 0.0F)), 0.0F);
}

TEST_P(LevelGrid, RefusesOtherBitsSymmetricAndGroupsThatDoNotDivide) {
  EXPECT_TRUE(kind().check({.bits = 4, .group = 64}, 576).ok());
  EXPECT_EQ(kind().fixed_bits, 4);
  for (const int bits : {2, 3, 5, 8}) {
    const Status s = kind().check({.bits = bits}, 64);
    ASSERT_FALSE(s.ok());
    EXPECT_NE(s.message().find("--bits 4"), std::string::npos) << s.message();
    EXPECT_NE(s.message().find(GetParam()), std::string::npos) << s.message();
  }
  const Status symmetric = kind().check({.bits = 4, .symmetric = true}, 64);
  ASSERT_FALSE(symmetric.ok());
  EXPECT_NE(symmetric.message().find("--symmetric"), std::string::npos);
  const Status group = kind().check({.bits = 4, .group = 48}, 64);
  ASSERT_FALSE(group.ok());
  EXPECT_NE(group.message().find("does not divide 64"), std::string::npos);
}

TEST_P(LevelGrid, CountsItsScalesInItsBits) {
  EXPECT_DOUBLE_EQ(kind().bits_per_weight({.bits = 4, .group = 64}, 576), 4 + 16.0 / 64);
  EXPECT_DOUBLE_EQ(kind().bits_per_weight({.bits = 4}, 576), 4 + 16.0 / 576);
}

INSTANTIATE_TEST_SUITE_P(Kinds, LevelGrid, ::testing::Values("nf4", "fp4"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Nf4, LevelsAreThePublishedOnes) {
  constexpr float kPublished[] = {-1.0F,       -0.6961928F, -0.5250731F, -0.3949175F,
                                  -0.2844414F, -0.1847734F, -0.0910500F, 0.0F,
                                  0.0795803F,  0.1609302F,  0.2461123F,  0.3379152F,
                                  0.4407098F,  0.5626170F,  0.7229568F,  1.0F};
  const std::vector<float> h(kWidth, 1.0F);
  const MatrixF w = weights(1, 1);
  const QuantGrid g = (*find_grid("nf4"))->fit({.kind = "nf4"}, w.view(), h);
  ASSERT_EQ(g.levels, 16);
  for (std::size_t c = 0; c < 16; ++c) EXPECT_NEAR(g.level[c], kPublished[c], 1e-4F) << c;
}

TEST(Fp4, LevelsAreTheFiniteValuesOfE2m1) {
  std::vector<float> expected;
  for (int code = 0; code < 16; ++code) {  // sign, two exponent bits (bias 1), one mantissa bit
    const int exponent = (code >> 1) & 3;
    const float mantissa = 0.5F * static_cast<float>(code & 1);
    const float magnitude = exponent == 0 ? mantissa : std::ldexp(1.0F + mantissa, exponent - 1);
    expected.push_back(code < 8 ? magnitude : 0.0F - magnitude);
  }
  std::sort(expected.begin(), expected.end());
  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  const std::vector<float> h(kWidth, 1.0F);
  const MatrixF w = weights(1, 1);
  EXPECT_EQ((*find_grid("fp4"))->fit({.kind = "fp4"}, w.view(), h).level, expected);
}

}  // namespace
}  // namespace coldpress
