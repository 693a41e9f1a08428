#include "solver/batch.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

bool same_matrix(const MatrixF& a, const MatrixF& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

void expect_same_bytes(const LayerSolution& a, const LayerSolution& b) {
  ASSERT_EQ(a.codes.size(), b.codes.size());
  EXPECT_EQ(0,
            std::memcmp(a.codes.data(), b.codes.data(), static_cast<std::size_t>(a.codes.size())));
  EXPECT_TRUE(same_matrix(a.grid.scale, b.grid.scale));
  EXPECT_TRUE(same_matrix(a.grid.zero, b.grid.zero));
  EXPECT_EQ(a.error, b.error);
  EXPECT_EQ(a.rtn_error, b.rtn_error);
  EXPECT_EQ(a.outcome.rows_from_rtn, b.outcome.rows_from_rtn);
}

// `count` problems of one shape; each pair of neighbours shares one Hessian.
struct Batch {
  std::vector<MatrixF> w;
  std::vector<TapHessian> hessians;
  std::vector<QuantGrid> grids;
  std::vector<LayerProblem> problems;
};
Batch make_batch(int count, int64_t rows, int64_t cols) {
  Batch b;
  const GridOptions options{.bits = 3, .group = 8};
  for (int k = 0; k < count; ++k) {
    const auto seed = static_cast<uint64_t>(k);
    b.w.push_back(testing::random_weights(rows, cols, seed));
    if (k % 2 == 0) {
      const MatrixF h = testing::random_hessian(cols, HessianKind::kCorrelated, seed);
      b.hessians.push_back(TapHessian::create("tap", h.view()).value());
    }
  }
  for (std::size_t k = 0; k < b.w.size(); ++k) {
    b.grids.push_back(
        (*find_grid("affine"))->fit(options, b.w[k].view(), b.hessians[k / 2].diagonal()));
  }
  for (std::size_t k = 0; k < b.w.size(); ++k) {
    b.problems.push_back({b.w[k].view(), &b.hessians[k / 2], &b.grids[k], {}});
  }
  return b;
}

void expect_batch_equals_one_by_one(int count, int64_t rows, int64_t cols) {
  for (const char* name : {"rtn", "gptq", "quantease", "admm-q"}) {
    const SolverMethod& method = **find_solver(name);
    std::vector<LayerSolution> alone;
    Batch reference = make_batch(count, rows, cols);
    ThreadPool one(1);
    for (const LayerProblem& p : reference.problems) alone.push_back(method.solve(p, {}, one));
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(::testing::Message() << name << ", " << threads << " threads");
      Batch fresh = make_batch(count, rows, cols);  // with empty caches
      ThreadPool pool(threads);
      const std::vector<LayerSolution> together = solve_batch(fresh.problems, method, {}, pool);
      ASSERT_EQ(together.size(), alone.size());
      for (std::size_t k = 0; k < alone.size(); ++k) expect_same_bytes(alone[k], together[k]);
    }
  }
}

TEST(SolveBatch, SmallProblemsGiveTheBytesOfEachAlone) {
  expect_batch_equals_one_by_one(7, 20, 32);
}

TEST(SolveBatch, ProblemsThatFillThePoolGiveTheBytesOfEachAlone) {
  expect_batch_equals_one_by_one(2, 1000, 16);
}

TEST(SolveBatch, ProblemsOfOneTapShareOneFactor) {
  Batch b = make_batch(2, 20, 32);
  ThreadPool pool(2);
  solve_batch(b.problems, **find_solver("gptq"), {}, pool);
  const GptqFactor* factor = b.hessians[0].gptq_factor(1, pool);
  ASSERT_NE(factor, nullptr);
  EXPECT_EQ(factor, b.problems[1].hessian->gptq_factor(1, pool));
}

TEST(SolveBatch, EmptyAndSingle) {
  ThreadPool pool(2);
  EXPECT_TRUE(solve_batch({}, **find_solver("rtn"), {}, pool).empty());
  Batch b = make_batch(1, 20, 32);
  EXPECT_EQ(solve_batch(b.problems, **find_solver("rtn"), {}, pool).size(), 1U);
}

}  // namespace
}  // namespace coldpress
