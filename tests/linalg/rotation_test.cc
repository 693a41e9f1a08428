#include "linalg/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace coldpress {
namespace {

// Column j is R e_j.
MatrixD matrix_of(const Rotation& r) {
  MatrixD m(r.n(), r.n());
  for (int64_t j = 0; j < r.n(); ++j) {
    std::vector<double> e(static_cast<std::size_t>(r.n()));
    e[static_cast<std::size_t>(j)] = 1;
    r.apply(e.data());
    for (int64_t i = 0; i < r.n(); ++i) m(i, j) = e[static_cast<std::size_t>(i)];
  }
  return m;
}

class HadamardOf : public ::testing::TestWithParam<int64_t> {};

TEST_P(HadamardOf, IsOrthogonalAndFlat) {
  const int64_t n = GetParam();
  const MatrixD m = matrix_of(Rotation::hadamard(n, 7));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < n; ++k) {
      double dot = 0;
      for (int64_t j = 0; j < n; ++j) dot += m(i, j) * m(k, j);
      EXPECT_NEAR(dot, i == k ? 1 : 0, 1e-13 * static_cast<double>(n));
      EXPECT_LE(std::abs(m(i, k)) * std::sqrt(static_cast<double>(n)), std::sqrt(2.0) + 1e-12);
    }
  }
}

TEST_P(HadamardOf, TransposedIsTheInverse) {
  const Rotation r = Rotation::hadamard(GetParam(), 3, 2);
  std::vector<double> x(static_cast<std::size_t>(r.n()));
  Rng rng(1);
  for (double& v : x) v = rng.normal();
  std::vector<double> y = x;
  r.apply(y.data());
  r.apply_transposed(y.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-13 * x.size());
}

TEST_P(HadamardOf, RowsAndColumnsAreMultiplied) {
  const int64_t n = GetParam();
  const Rotation r = Rotation::hadamard(n, 11);
  const MatrixD m = matrix_of(r);
  MatrixF rows(3, n);
  MatrixF columns(n, 19);
  Rng rng(5);
  for (int64_t i = 0; i < rows.size(); ++i) rows.data()[i] = static_cast<float>(rng.normal());
  for (int64_t i = 0; i < columns.size(); ++i) columns.data()[i] = static_cast<float>(rng.normal());
  const MatrixF rows_before = rows.clone();
  const MatrixF columns_before = columns.clone();
  MatrixF rows_back = rows.clone();
  r.to_rows(rows.view());
  r.to_rows_back(rows_back.view());
  r.to_columns(columns.view());
  const double tolerance = 1e-6 * std::sqrt(static_cast<double>(n));
  for (int64_t i = 0; i < n; ++i) {
    double row = 0;
    double row_back = 0;
    double column = 0;
    for (int64_t j = 0; j < n; ++j) {
      row_back += m(j, i) * rows_before(2, j);
      row += m(i, j) * rows_before(2, j);
      column += m(i, j) * columns_before(j, 18);
    }
    EXPECT_NEAR(rows(2, i), row, tolerance);
    EXPECT_NEAR(rows_back(2, i), row_back, tolerance);
    EXPECT_NEAR(columns(i, 18), column, tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, HadamardOf, ::testing::Values(1, 2, 3, 12, 64, 77, 96, 576));

TEST(Rotation, SeedsAndStreamsDiffer) {
  const MatrixD a = matrix_of(Rotation::hadamard(64, 1));
  const MatrixD b = matrix_of(Rotation::hadamard(64, 2));
  const MatrixD c = matrix_of(Rotation::hadamard(64, 1, 1));
  int ab = 0;
  int ac = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    ab += a.data()[i] != b.data()[i];
    ac += a.data()[i] != c.data()[i];
  }
  EXPECT_GT(ab, 0);
  EXPECT_GT(ac, 0);
}

TEST(Rotation, DenseIsWhatItWasGiven) {
  MatrixF q(2, 2);
  q(0, 0) = 0.6F;
  q(0, 1) = 0.8F;
  q(1, 0) = -0.8F;
  q(1, 1) = 0.6F;
  const Rotation r = Rotation::dense(std::move(q));
  double x[2] = {1, 2};
  r.apply(x);
  EXPECT_NEAR(x[0], 2.2, 1e-7);
  EXPECT_NEAR(x[1], 0.4, 1e-7);
  r.apply_transposed(x);
  EXPECT_NEAR(x[0], 1, 1e-7);
  const MatrixF m = r.matrix();
  EXPECT_FLOAT_EQ(m(0, 1), 0.8F);
  EXPECT_FLOAT_EQ(m(1, 0), -0.8F);
  MatrixF rows(1, 2);
  rows(0, 0) = 1;
  rows(0, 1) = 2;
  r.to_rows(rows.view());
  EXPECT_FLOAT_EQ(rows(0, 0), 2.2F);
}

}  // namespace
}  // namespace coldpress
