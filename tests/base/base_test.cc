// Small pieces of the base layer: status, checked arithmetic, views, random numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/view.h"

namespace coldpress {
namespace {

TEST(Status, ContextGoesInFrontAndKeepsTheCode) {
  const Status s = corrupt("bad header").with_context("a.gguf");
  EXPECT_EQ(s.code(), StatusCode::kCorrupt);
  EXPECT_EQ(s.message(), "a.gguf: bad header");
  EXPECT_TRUE(Status().with_context("a.gguf").ok());
}

Result<std::unique_ptr<int>> half_of(int n) {
  if (n % 2 != 0) return invalid_argument("odd");
  return std::make_unique<int>(n / 2);
}

Result<int> quarter_of(int n) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, half_of(n));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, half_of(*half));
  return *quarter;
}

TEST(Result, MovesValuesAndPropagatesErrors) {
  ASSERT_TRUE(quarter_of(12).ok());
  EXPECT_EQ(*quarter_of(12), 3);
  EXPECT_EQ(quarter_of(6).status().message(), "odd");
}

TEST(ResultDeathTest, ValueOfAnErrorIsOurBug) {
  const Result<int> r = invalid_argument("no");
  EXPECT_DEATH((void)r.value(), "internal error");
}

TEST(Checked, OverflowIsNothing) {
  EXPECT_EQ(checked_mul(1ULL << 32, (1ULL << 32) - 1), 18446744069414584320ULL);
  EXPECT_FALSE(checked_mul(1ULL << 32, 1ULL << 32).has_value());
  EXPECT_EQ(checked_add(UINT64_MAX, 0), UINT64_MAX);
  EXPECT_FALSE(checked_add(UINT64_MAX, 1).has_value());
}

TEST(View, BlockAddressesTheSameMemory) {
  MatrixF m(4, 5);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 5; ++j) m(i, j) = static_cast<float>(10 * i + j);
  }
  const View2<const float> b = m.view().block(1, 2, 2, 3);
  EXPECT_EQ(b.rows, 2);
  EXPECT_EQ(b.cols, 3);
  EXPECT_EQ(b(1, 2), 24.0F);
  EXPECT_EQ(b.row_range(1, 1)(0, 0), 22.0F);
}

TEST(Matrix, IsZeroedAlignedAndClonesByValue) {
  MatrixF m(3, 7);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(m.data()) % 64, 0U);
  for (int64_t i = 0; i < m.size(); ++i) EXPECT_EQ(m.data()[i], 0.0F);
  MatrixF copy = m.clone();
  copy(0, 0) = 1;
  EXPECT_EQ(m(0, 0), 0.0F);
  EXPECT_TRUE(MatrixF(0, 5).empty());
}

TEST(Rng, IsAFunctionOfSeedStreamAndPosition) {
  Rng a(7, 1);
  Rng b(7, 1);
  Rng other_stream(7, 2);
  Rng other_seed(8, 1);
  const uint64_t first = a.next_u64();
  EXPECT_EQ(first, b.next_u64());
  EXPECT_NE(first, other_stream.next_u64());
  EXPECT_NE(first, other_seed.next_u64());
}

TEST(Rng, MomentsAreThoseOfTheDistributions) {
  constexpr int kCount = 200000;
  Rng rng(3);
  double sum = 0;
  double square = 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = rng.normal();
    sum += x;
    square += x * x;
  }
  // Five standard errors: 1/sqrt(n) for the mean, sqrt(2/n) for the variance.
  EXPECT_NEAR(sum / kCount, 0.0, 5.0 / std::sqrt(kCount));
  EXPECT_NEAR(square / kCount, 1.0, 5.0 * std::sqrt(2.0 / kCount));
  double uniform = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = rng.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    uniform += u;
  }
  EXPECT_NEAR(uniform / kCount, 0.5, 5.0 / std::sqrt(12.0 * kCount));
  for (int i = 0; i < 1000; ++i) ASSERT_LT(rng.below(7), 7U);
}

}  // namespace
}  // namespace coldpress
