#include "linalg/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/linalg/random_matrix.h"

namespace coldpress {
namespace {

// To the nearest, ties to even, where products are of bf16.
double rounded(float value) {
  if (!has_bf16_products()) return value;
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  bits += 0x7FFFU + ((bits >> 16) & 1U);
  bits &= 0xFFFF0000U;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// op(a) op(b) of rounded values, in double.
double product(Trans ta, Trans tb, const MatrixF& a, const MatrixF& b, int64_t i, int64_t j) {
  const int64_t k = ta == Trans::kNo ? a.cols() : a.rows();
  double sum = 0;
  for (int64_t t = 0; t < k; ++t) {
    sum += rounded(ta == Trans::kNo ? a(i, t) : a(t, i)) *
           rounded(tb == Trans::kNo ? b(t, j) : b(j, t));
  }
  return sum;
}

struct Shape {
  int64_t m;
  int64_t n;
  int64_t k;
};

// Around the widths of tiles, with odd k, and with more pairs than a tile keeps in the cache.
class Bf16 : public testing::TestWithParam<Shape> {};

TEST_P(Bf16, MatchesDoubleOfTheRoundedValuesForEveryTransposition) {
  const auto [m, n, k] = GetParam();
  Bf16Scratch scratch;
  for (const Trans ta : {Trans::kNo, Trans::kYes}) {
    for (const Trans tb : {Trans::kNo, Trans::kYes}) {
      const MatrixF a = ta == Trans::kNo ? random_matrix(m, k, 1) : random_matrix(k, m, 1);
      const MatrixF b = tb == Trans::kNo ? random_matrix(k, n, 2) : random_matrix(n, k, 2);
      for (const bool add : {false, true}) {
        MatrixF c = random_matrix(m, n, 3);
        const MatrixF before = c.clone();
        gemm_bf16(ta, tb, a.view(), b.view(), add, c.view(), &scratch);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            const double given = add ? static_cast<double>(before(i, j)) : 0.0;
            ASSERT_NEAR(c(i, j), given + product(ta, tb, a, b, i, j), tolerance(k));
          }
        }
      }
    }
  }
}

TEST_P(Bf16, AMatrixOfManyProductsMatchesToo) {
  const auto [m, n, k] = GetParam();
  const MatrixF a = random_matrix(k, m, 1);
  const Bf16Left left(a.clone());
  Bf16Scratch scratch;
  for (const uint64_t seed : {2, 3}) {
    const MatrixF b = random_matrix(k, n, seed);
    MatrixF c(m, n);
    left.multiply(b.view(), c.view(), &scratch);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        ASSERT_NEAR(c(i, j), product(Trans::kYes, Trans::kNo, a, b, i, j), tolerance(k));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Bf16,
                         testing::Values(Shape{1, 1, 1}, Shape{8, 48, 32}, Shape{9, 49, 33},
                                         Shape{7, 31, 65}, Shape{17, 97, 2}, Shape{24, 16, 1031}),
                         [](const auto& test) {
                           return std::to_string(test.param.m) + "x" +
                                  std::to_string(test.param.n) + "x" + std::to_string(test.param.k);
                         });

// Values beside the view are neither read nor written.
TEST(Bf16View, StaysWithinItsRows) {
  MatrixF a = random_matrix(20, 30, 1);
  MatrixF b = random_matrix(20, 80, 2);
  MatrixF c(12, 80);
  const float nan = std::nanf("");
  for (int64_t i = 0; i < 20; ++i) {
    for (int64_t j = 12; j < 30; ++j) a(i, j) = nan;
    for (int64_t j = 50; j < 80; ++j) b(i, j) = nan;
  }
  Bf16Scratch scratch;
  const View2<const float> left = a.view().block(0, 0, 20, 12);
  const View2<const float> right = b.view().block(0, 0, 20, 50);
  gemm_bf16(Trans::kYes, Trans::kNo, left, right, false, c.view().block(0, 0, 12, 50), &scratch);
  for (int64_t i = 0; i < c.rows(); ++i) {
    for (int64_t j = 0; j < c.cols(); ++j) {
      const double want = j < 50 ? product(Trans::kYes, Trans::kNo, a, b, i, j) : 0.0;
      ASSERT_NEAR(c(i, j), want, tolerance(20));
    }
  }
}

}  // namespace
}  // namespace coldpress
