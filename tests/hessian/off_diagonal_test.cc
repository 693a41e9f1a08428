#include "hessian/off_diagonal.h"

#include <gtest/gtest.h>

#include <cstddef>
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
