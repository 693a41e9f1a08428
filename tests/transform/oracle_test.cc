// The identities that transforms rest on, in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "base/view.h"
#include "linalg/rotation.h"

namespace coldpress {
namespace {

constexpr double kExact = 1e-10;
constexpr int64_t kWidth = 96;

std::vector<double> random_vector(Rng& rng, int64_t n) {
  std::vector<double> x(static_cast<std::size_t>(n));
  for (double& v : x) v = rng.normal();
  return x;
}

MatrixD random_matrix(Rng& rng, int64_t rows, int64_t cols) {
  MatrixD m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = rng.normal();
  return m;
}

std::vector<double> times(const MatrixD& m, const std::vector<double>& x) {
  std::vector<double> y(static_cast<std::size_t>(m.rows()));
  for (int64_t i = 0; i < m.rows(); ++i) {
    for (int64_t j = 0; j < m.cols(); ++j) {
      y[static_cast<std::size_t>(i)] += m(i, j) * x[static_cast<std::size_t>(j)];
    }
  }
  return y;
}

std::vector<double> rms_norm(std::vector<double> x) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  for (double& v : x) v /= std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
  return x;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], kExact);
}

TEST(Identities, GainsFoldAndTheResidualRotates) {
  Rng rng(1);
  const Rotation r = Rotation::hadamard(kWidth, 3);
  const MatrixD w = random_matrix(rng, 7, kWidth);
  const std::vector<double> gain = random_vector(rng, kWidth);
  std::vector<double> x = random_vector(rng, kWidth);
  std::vector<double> normed = rms_norm(x);
  for (std::size_t j = 0; j < normed.size(); ++j) normed[j] *= gain[j];

  MatrixD edited = w.clone();
  for (int64_t i = 0; i < edited.rows(); ++i) {
    for (int64_t j = 0; j < kWidth; ++j) edited(i, j) *= gain[static_cast<std::size_t>(j)];
    r.apply(edited.row(i));
  }
  r.apply(x.data());
  expect_near(times(edited, rms_norm(x)), times(w, normed));
}

TEST(Identities, WritersAreRotatedByTheirColumns) {
  Rng rng(2);
  const Rotation r = Rotation::hadamard(kWidth, 3);
  const MatrixD w = random_matrix(rng, kWidth, 11);
  const std::vector<double> x = random_vector(rng, 11);
  std::vector<double> expected = times(w, x);
  r.apply(expected.data());
  MatrixD edited(kWidth, 11);
  for (int64_t j = 0; j < 11; ++j) {
    std::vector<double> column(static_cast<std::size_t>(kWidth));
    for (int64_t i = 0; i < kWidth; ++i) column[static_cast<std::size_t>(i)] = w(i, j);
    r.apply(column.data());
    for (int64_t i = 0; i < kWidth; ++i) edited(i, j) = column[static_cast<std::size_t>(i)];
  }
  expect_near(times(edited, x), expected);
}

TEST(Identities, ScoresAndDownProjectionsStay) {
  Rng rng(4);
  const Rotation r = Rotation::hadamard(kWidth, 9);
  std::vector<double> q = random_vector(rng, kWidth);
  std::vector<double> k = random_vector(rng, kWidth);
  MatrixD w = random_matrix(rng, 5, kWidth);
  const std::vector<double> expected = times(w, k);
  double score = 0;
  for (std::size_t i = 0; i < q.size(); ++i) score += q[i] * k[i];
  r.apply(q.data());
  r.apply(k.data());
  double rotated = 0;
  for (std::size_t i = 0; i < q.size(); ++i) rotated += q[i] * k[i];
  EXPECT_NEAR(rotated, score, kExact);
  for (int64_t i = 0; i < w.rows(); ++i) r.apply(w.row(i));
  expect_near(times(w, k), expected);
}

}  // namespace
}  // namespace coldpress
