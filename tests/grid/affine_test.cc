#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "grid/table.h"

namespace coldpress {
namespace {

const GridKind& affine() { return **find_grid("affine"); }

MatrixF weights(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed);
  MatrixF w(rows, cols);
  for (int64_t k = 0; k < w.size(); ++k) w.data()[k] = static_cast<float>(rng.normal());
  return w;
}

double weighted(const QuantGrid& g, View2<const float> w, std::span<const float> h) {
  double f = 0;
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) {
      const double e = static_cast<double>(g.value(i, j, project(g, i, j, w(i, j)))) - w(i, j);
      f += h[static_cast<std::size_t>(j)] * e * e;
    }
  }
  return f;
}

TEST(AffineGrid, ProjectsToTheNearestValueForEveryBitWidth) {
  const MatrixF w = weights(3, 32, 1);
  const std::vector<float> h(32, 1.0F);
  for (int bits = 2; bits <= 8; ++bits) {
    for (const bool symmetric : {false, true}) {
      const QuantGrid g =
          affine().fit({.bits = bits, .group = 16, .symmetric = symmetric}, w.view(), h);
      ASSERT_EQ(g.levels, 1 << bits);
      for (int64_t i = 0; i < 3; ++i) {
        for (int64_t j = 0; j < 32; ++j) {
          const float got = std::abs(g.value(i, j, project(g, i, j, w(i, j))) - w(i, j));
          for (int c = 0; c < g.levels; ++c) {
            ASSERT_LE(got, std::abs(g.value(i, j, static_cast<uint8_t>(c)) - w(i, j)) + 1e-6F);
          }
        }
      }
    }
  }
}

TEST(AffineGrid, ZeroIsAnIntegerInsideAndSymmetricIsTheMiddle) {
  const MatrixF w = weights(4, 32, 2);
  const std::vector<float> h(32, 1.0F);
  const QuantGrid a = affine().fit({.bits = 3, .group = 8}, w.view(), h);
  const QuantGrid s = affine().fit({.bits = 3, .group = 8, .symmetric = true}, w.view(), h);
  for (int64_t k = 0; k < a.zero.size(); ++k) {
    EXPECT_EQ(a.zero.data()[k], std::rint(a.zero.data()[k]));
    EXPECT_GE(a.zero.data()[k], 0.0F);
    EXPECT_LE(a.zero.data()[k], 7.0F);
    EXPECT_EQ(s.zero.data()[k], 4.0F);
  }
}

TEST(AffineGrid, ClippingNeverRaisesTheWeightedErrorAndUsuallyLowersIt) {
  const MatrixF w = weights(16, 64, 3);
  std::vector<float> h(64);
  for (std::size_t j = 0; j < h.size(); ++j) h[j] = static_cast<float>(1 + j % 7);
  for (const int bits : {2, 3, 4}) {
    const GridOptions none{.bits = bits, .clip = Clip::kNone};
    const GridOptions clipped{.bits = bits, .clip = Clip::kHessian};
    const double a = weighted(affine().fit(none, w.view(), h), w.view(), h);
    const double b = weighted(affine().fit(clipped, w.view(), h), w.view(), h);
    EXPECT_LT(b, (bits < 4 ? 0.9 : 1.0) * a) << bits;
  }
}

TEST(AffineGrid, GroupOfZerosHasScaleOne) {
  const MatrixF w(2, 16);
  const QuantGrid g = affine().fit({.bits = 4, .group = 8}, w.view(), std::vector<float>(16, 1.0F));
  for (int64_t k = 0; k < g.scale.size(); ++k) EXPECT_EQ(g.scale.data()[k], 1.0F);
  EXPECT_EQ(g.value(0, 0, project(g, 0, 0, 0.0F)), 0.0F);
}

TEST(AffineGrid, RefusesWhatCannotBe) {
  EXPECT_FALSE(affine().check({.bits = 1}, 64).ok());
  EXPECT_FALSE(affine().check({.bits = 9}, 64).ok());
  const Status s = affine().check({.bits = 4, .group = 128}, 576);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.message().find("does not divide 576"), std::string::npos);
  EXPECT_NE(s.message().find("64"), std::string::npos) << "names a legal choice";
  EXPECT_TRUE(affine().check({.bits = 4, .group = 64}, 576).ok());
  EXPECT_FALSE(find_grid("nf5").ok());
}

TEST(AffineGrid, CountsScalesAndZerosInItsBits) {
  EXPECT_DOUBLE_EQ(affine().bits_per_weight({.bits = 3, .group = 64}, 576), 3 + 19.0 / 64);
  EXPECT_DOUBLE_EQ(affine().bits_per_weight({.bits = 3, .symmetric = true}, 576), 3 + 16.0 / 576);
}

}  // namespace
}  // namespace coldpress
