#include "linalg/blas.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/linalg/random_matrix.h"

namespace coldpress {
namespace {

MatrixF random_spd(int64_t n, uint64_t seed) {
  const MatrixF x = random_matrix(3 * n, n, seed);
  MatrixF a(n, n);
  syrk_lower(1.0F, x.view(), 0.0F, a.view());
  mirror_lower(a.view());
  return a;
}

TEST(Gemm, MatchesDoubleForEveryTransposition) {
  const int64_t m = 7;
  const int64_t n = 11;
  const int64_t k = 33;
  for (const Trans ta : {Trans::kNo, Trans::kYes}) {
    for (const Trans tb : {Trans::kNo, Trans::kYes}) {
      const MatrixF a = ta == Trans::kNo ? random_matrix(m, k, 1) : random_matrix(k, m, 1);
      const MatrixF b = tb == Trans::kNo ? random_matrix(k, n, 2) : random_matrix(n, k, 2);
      MatrixF c = random_matrix(m, n, 3);
      const MatrixF before = c.clone();
      gemm(ta, tb, 2.0F, a.view(), b.view(), 0.5F, c.view());
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0.5 * before(i, j);
          for (int64_t t = 0; t < k; ++t) {
            sum += 2.0 * static_cast<double>(ta == Trans::kNo ? a(i, t) : a(t, i)) *
                   static_cast<double>(tb == Trans::kNo ? b(t, j) : b(j, t));
          }
          ASSERT_NEAR(c(i, j), sum, tolerance(k));
        }
      }
    }
  }
}

TEST(Gemm, WorksOnBlocksOfLargerMatrices) {
  const MatrixF a = random_matrix(20, 20, 4);
  MatrixF c(20, 20);
  gemm(Trans::kNo, Trans::kNo, 1.0F, a.view().block(2, 3, 5, 6), a.view().block(1, 4, 6, 7), 0.0F,
       c.view().block(8, 9, 5, 7));
  double sum = 0;
  for (int64_t t = 0; t < 6; ++t) sum += static_cast<double>(a(2, 3 + t)) * a(1 + t, 4);
  EXPECT_NEAR(c(8, 9), sum, tolerance(6));
  EXPECT_EQ(c(7, 9), 0.0F);
}

TEST(Cholesky, FactorsAndInverts) {
  const int64_t n = 40;
  const MatrixF a = random_spd(n, 5);
  MatrixF inverse = a.clone();
  ASSERT_TRUE(invert_spd(inverse.view()));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < n; ++t) sum += static_cast<double>(a(i, t)) * inverse(t, j);
      EXPECT_NEAR(sum, i == j ? 1.0 : 0.0, 1e-3);
    }
  }
}

TEST(Cholesky, RefusesAnIndefiniteMatrix) {
  MatrixF a = random_spd(10, 6);
  a(4, 4) = -1;
  EXPECT_FALSE(cholesky_lower(a.view()));
}

TEST(Eigenvalues, OfADiagonalMatrixAreItsEntries) {
  MatrixF a(4, 4);
  const float values[] = {3, 1, 4, 2};
  for (int64_t i = 0; i < 4; ++i) a(i, i) = values[i];
  const std::vector<float> v = eigenvalues_symmetric(a.view());
  ASSERT_EQ(v.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(v[i], static_cast<float>(i + 1), 1e-5);
}

}  // namespace
}  // namespace coldpress
