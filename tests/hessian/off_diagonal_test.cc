#include "hessian/off_diagonal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "parallel/thread_pool.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

TEST(OffDiagonal, ShareFallsWithTheTokensForEachColumn) {
  EXPECT_DOUBLE_EQ(off_diagonal_share(100, 10000), 0.1);
  EXPECT_DOUBLE_EQ(off_diagonal_share(100, 1000000), 0.001);
  EXPECT_DOUBLE_EQ(off_diagonal_share(100, 50), 0.5);
  EXPECT_DOUBLE_EQ(off_diagonal_share(100, 0), 0.5);
}

TEST(OffDiagonal, TheDiagonalStays) {
  MatrixF h(3, 3);
  for (int64_t k = 0; k < 9; ++k) h.data()[k] = static_cast<float>(k + 1);
  shrink_off_diagonal(h.view(), 0.25);
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      const auto was = static_cast<float>(3 * i + j + 1);
      EXPECT_FLOAT_EQ(h(i, j), i == j ? was : 0.75F * was);
    }
  }
}

TEST(OffDiagonal, NothingChangesBeyondMeasure) {
  MatrixF h(2, 2);
  h(0, 1) = h(1, 0) = 2;
  shrink_off_diagonal(h.view(), 0);
  EXPECT_EQ(h(0, 1), 2);
  shrink_off_diagonal(h.view(), 1);
  EXPECT_EQ(h(0, 1), 0);
}

// H = M H0 M^T with M = D^-1 R: the rotations of 6 and of 10 columns, then a scale for each.
class OffDiagonalOfRotated : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr int64_t kColumns = 16;

  OffDiagonalOfRotated() : h0_(kColumns, kColumns), m_(kColumns, kColumns) {
    Rng rng(21);
    MatrixD x(40, kColumns);
    for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = rng.normal();
    for (int64_t t = 0; t < x.rows(); ++t) {
      for (int64_t i = 0; i < kColumns; ++i) {
        for (int64_t j = 0; j < kColumns; ++j) h0_(i, j) += x(t, i) * x(t, j) * (1.0 + i);
      }
    }
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < i; ++j) h0_(i, j) = h0_(j, i);
    }
    const bool is_scaled = GetParam();
    int64_t first = 0;
    for (const int64_t n : {6, 10}) {
      basis_.rotations.push_back(std::make_shared<Rotation>(Rotation::hadamard(n, 3)));
      const MatrixF r = basis_.rotations.back()->matrix();
      for (int64_t i = 0; i < n; ++i) {
        if (is_scaled) basis_.scales.push_back(static_cast<float>(0.5 + rng.uniform()));
        const double by = is_scaled ? basis_.scales.back() : 1.0;
        for (int64_t j = 0; j < n; ++j) m_(first + i, first + j) = r(i, j) / by;
      }
      first += n;
    }
  }

  MatrixF seen(const MatrixD& h0) const {
    MatrixF h(kColumns, kColumns);
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        double sum = 0;
        for (int64_t a = 0; a < kColumns; ++a) {
          for (int64_t b = 0; b < kColumns; ++b) sum += m_(i, a) * h0(a, b) * m_(j, b);
        }
        h(i, j) = static_cast<float>(sum);
      }
    }
    return h;
  }

  MatrixD h0_;
  MatrixD m_;
  TapBasis basis_;
};

TEST_P(OffDiagonalOfRotated, ProductsOfTheInputsAsTheyWereAreShrunk) {
  MatrixF h = seen(h0_);
  ThreadPool pool(2);
  shrink_off_diagonal(h.view(), 0.3, basis_, pool);
  MatrixD shrunk = h0_.clone();
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) shrunk(i, j) *= i == j ? 1 : 0.7;
  }
  const MatrixF expected = seen(shrunk);
  double largest = 0;
  for (int64_t i = 0; i < h.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected.data()[i])));
  }
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      EXPECT_NEAR(h(i, j), expected(i, j), 1e-6 * largest);
      EXPECT_EQ(h(i, j), h(j, i));
    }
  }
}

TEST_P(OffDiagonalOfRotated, NothingChangesAtShareZero) {
  MatrixF h = seen(h0_);
  const MatrixF before = h.clone();
  ThreadPool pool(1);
  shrink_off_diagonal(h.view(), 0, basis_, pool);
  EXPECT_TRUE(std::equal(h.data(), h.data() + h.size(), before.data()));
}

INSTANTIATE_TEST_SUITE_P(Scaled, OffDiagonalOfRotated, ::testing::Bool());

// Columns of equal variance that share one part, so H is known; 64 tokens of 48 columns show it
// badly.
TEST(OffDiagonal, SolvedOnFewTokensErrsLessOnAllOthers) {
  constexpr int64_t kColumns = 48;
  constexpr int64_t kTokens = 64;
  Rng rng(11);
  const auto common = 1.5;
  MatrixF seen(kColumns, kColumns);
  for (int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> x(kColumns);
    const double shared = common * rng.normal();
    for (double& v : x) v = shared + rng.normal();
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        seen(i, j) += static_cast<float>(x[static_cast<std::size_t>(i)] *
                                         x[static_cast<std::size_t>(j)] / kTokens);
      }
    }
  }
  MatrixF whole(kColumns, kColumns);
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      whole(i, j) = static_cast<float>(common * common + (i == j ? 1 : 0));
    }
  }
  const MatrixF w = testing::random_weights(200, kColumns, 3);
  ThreadPool pool(1);
  const auto error_on_others = [&](double share) {
    MatrixF h = seen.clone();
    shrink_off_diagonal(h.view(), share);
    TapHessian hessian = TapHessian::create("few tokens", h.view()).value();
    const GridOptions options{.bits = 3};
    const QuantGrid grid = (*find_grid("affine"))->fit(options, w.view(), hessian.diagonal());
    const LayerSolution s =
        (*find_solver("gptq"))->solve({w.view(), &hessian, &grid, {}}, {}, pool);
    MatrixF q(w.rows(), w.cols());
    decode(s.grid, s.codes.view(), q.view());
    return testing::oracle_error(w.view(), q.view(), whole.view());
  };
  EXPECT_LT(error_on_others(off_diagonal_share(kColumns, kTokens)), 0.8 * error_on_others(0));
}

}  // namespace
}  // namespace coldpress
