#include "linalg/spd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "linalg/blas.h"
#include "tests/linalg/random_matrix.h"

namespace coldpress {
namespace {

// Well conditioned; the strict upper triangle is NaN, which nothing may read.
MatrixF lower_of_spd(int64_t n, uint64_t seed) {
  const MatrixF x = random_matrix(3 * n + 8, n, seed);
  MatrixF a(n, n);
  syrk_lower(1.0F / static_cast<float>(x.rows()), x.view(), 0.0F, a.view());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) a(i, j) = std::nanf("");
  }
  return a;
}

// The symmetric matrix of a lower triangle; or that triangle with zeros above it.
MatrixF whole(const MatrixF& lower, bool symmetric) {
  MatrixF a(lower.rows(), lower.cols());
  for (int64_t i = 0; i < a.rows(); ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      a(i, j) = lower(i, j);
      if (symmetric) a(j, i) = lower(i, j);
    }
  }
  return a;
}

double at(const MatrixF& m, int64_t i, int64_t j) { return m(i, j); }

// Largest |a b - c| (or a b^T), in double, at every 7th place.
double distance(const MatrixF& a, Trans tb, const MatrixF& b, const MatrixF& c) {
  double worst = 0;
  for (int64_t k = 0; k < c.size(); k += 7) {
    const int64_t i = k / c.cols();
    const int64_t j = k % c.cols();
    double sum = -at(c, i, j);
    for (int64_t t = 0; t < a.cols(); ++t) {
      sum += at(a, i, t) * (tb == Trans::kNo ? at(b, t, j) : at(b, j, t));
    }
    worst = std::max(worst, std::abs(sum));
  }
  return worst;
}

MatrixF identity(int64_t n) {
  MatrixF one(n, n);
  for (int64_t i = 0; i < n; ++i) one(i, i) = 1;
  return one;
}

void expect_nan_above(const MatrixF& a) {
  for (int64_t i = 0; i < a.rows(); ++i) {
    for (int64_t j = i + 1; j < a.cols(); ++j) ASSERT_TRUE(std::isnan(a(i, j))) << i << " " << j;
  }
}

// One block, its edge, and several.
class Spd : public testing::TestWithParam<int64_t> {};

TEST_P(Spd, FactorTimesItsTransposeIsTheMatrix) {
  ThreadPool pool(2);
  const MatrixF a = lower_of_spd(GetParam(), 1);
  MatrixF l = a.clone();
  ASSERT_TRUE(cholesky_lower(l.view(), pool));
  expect_nan_above(l);
  const MatrixF factor = whole(l, false);
  EXPECT_LT(distance(factor, Trans::kYes, factor, whole(a, true)), 1e-5);
}

TEST_P(Spd, InverseOfAFactorTimesItIsOne) {
  ThreadPool pool(2);
  MatrixF l = lower_of_spd(GetParam(), 2);
  ASSERT_TRUE(cholesky_lower(l.view(), pool));
  const MatrixF factor = whole(l, false);
  ASSERT_TRUE(invert_lower(l.view(), pool));
  expect_nan_above(l);
  EXPECT_LT(distance(factor, Trans::kNo, whole(l, false), identity(GetParam())), 1e-4);
}

TEST_P(Spd, InverseTimesTheMatrixIsOneAndSymmetric) {
  ThreadPool pool(2);
  const MatrixF a = lower_of_spd(GetParam(), 3);
  MatrixF inverse = a.clone();
  ASSERT_TRUE(invert_spd(inverse.view(), pool));
  EXPECT_LT(distance(whole(a, true), Trans::kNo, inverse, identity(GetParam())), 1e-4);
  for (int64_t i = 0; i < inverse.rows(); ++i) {
    for (int64_t j = 0; j < i; ++j) ASSERT_EQ(inverse(i, j), inverse(j, i));
  }
}

TEST_P(Spd, ThreadsDoNotChangeTheBytes) {
  const MatrixF a = lower_of_spd(GetParam(), 4);
  MatrixF one = a.clone();
  MatrixF three = a.clone();
  ThreadPool alone(1);
  ThreadPool pool(3);
  ASSERT_TRUE(invert_spd(one.view(), alone));
  ASSERT_TRUE(invert_spd(three.view(), pool));
  EXPECT_EQ(0, std::memcmp(one.data(), three.data(),
                           static_cast<std::size_t>(one.size()) * sizeof(float)));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Spd, testing::Values(1, 40, 255, 256, 257, 700));

TEST(SpdRefusal, OfWhatIsIndefiniteInALaterBlock) {
  ThreadPool pool(2);
  MatrixF a = lower_of_spd(600, 5);
  a(550, 550) = -1;
  EXPECT_FALSE(cholesky_lower(a.view(), pool));
}

TEST(SpdRefusal, OfASingularFactor) {
  ThreadPool pool(2);
  MatrixF l = lower_of_spd(600, 6);
  ASSERT_TRUE(cholesky_lower(l.view(), pool));
  l(300, 300) = 0;
  EXPECT_FALSE(invert_lower(l.view(), pool));
}

TEST(SpdView, StaysWithinItsRows) {
  ThreadPool pool(2);
  const MatrixF a = lower_of_spd(300, 7);
  MatrixF wide(302, 310);
  for (int64_t i = 0; i < 300; ++i) std::copy_n(a.row(i), 300, wide.row(i + 1) + 5);
  MatrixF alone = a.clone();
  ASSERT_TRUE(invert_spd(alone.view(), pool));
  ASSERT_TRUE(invert_spd(wide.view().block(1, 5, 300, 300), pool));
  for (int64_t i = 0; i < 302; ++i) {
    for (int64_t j = 0; j < 310; ++j) {
      const bool inside = i >= 1 && i < 301 && j >= 5 && j < 305;
      ASSERT_EQ(wide(i, j), inside ? alone(i - 1, j - 5) : 0.0F);
    }
  }
}

}  // namespace
}  // namespace coldpress
