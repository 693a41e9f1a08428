// The contract of every solver in the table (solver/solver.h): a new file in methods/ is tested
// here the moment it exists.
#include <gtest/gtest.h>

#include <cmath>

#include "grid/scale_rule.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

class EverySolver : public ::testing::TestWithParam<const SolverMethod*> {
 protected:
  LayerSolution solve(testing::Fixture& f, int threads = 1, SolverOptions options = {}) {
    ThreadPool pool(threads);
    return GetParam()->solve({f.w.view(), &f.hessian, &f.grid, {}}, options, pool);
  }
};

constexpr HessianKind kKinds[] = {
    HessianKind::kCorrelated, HessianKind::kIdentity, HessianKind::kZero,
    HessianKind::kRankOne,    HessianKind::kSingular, HessianKind::kScaled,
    HessianKind::kHuge,       HessianKind::kTiny,     HessianKind::kDead};

TEST_P(EverySolver, NeverWorseThanRtnAndFiniteForAnyHessian) {
  uint64_t seed = 1;
  for (const HessianKind kind : kKinds) {
    for (const int bits : {2, 3, 8}) {
      for (const bool symmetric : {false, true}) {
        ++seed;
        SCOPED_TRACE(::testing::Message() << "kind " << static_cast<int>(kind) << " bits " << bits
                                          << " symmetric " << symmetric << " seed " << seed);
        GridOptions options{.bits = bits, .group = 8, .symmetric = symmetric};
        testing::Fixture f = testing::make_fixture(5, 24, kind, seed, options);
        const LayerSolution s = solve(f);
        EXPECT_TRUE(std::isfinite(s.error));
        EXPECT_LE(s.error, s.rtn_error);
        for (int64_t k = 0; k < s.codes.size(); ++k) ASSERT_LT(s.codes.data()[k], f.grid.levels);
        const double oracle = testing::decoded_error(f, s);
        // The solver's own f is an fp32 product of n terms: relative to the energy of its errors.
        EXPECT_NEAR(s.error, oracle, 1e-4 * std::max(s.rtn_error, oracle) + 1e-6 * s.energy);
      }
    }
  }
}

TEST_P(EverySolver, SameBytesForAnyThreadCount) {
  testing::Fixture f =
      testing::make_fixture(450, 80, HessianKind::kCorrelated, 3, {.bits = 3, .group = 16});
  const LayerSolution one = solve(f, 1);
  for (const int threads : {2, 3, 5}) {
    const LayerSolution many = solve(f, threads);
    ASSERT_EQ(0, std::memcmp(one.codes.data(), many.codes.data(),
                             static_cast<std::size_t>(one.codes.size())));
    EXPECT_EQ(one.error, many.error);
  }
}

TEST_P(EverySolver, EndsOnScalesThatTheGridCanStore) {
  for (const DType type : {DType::kF16, DType::kBF16}) {
    for (const int effort : {1, 2, 3, 5}) {
      testing::Fixture f = testing::make_fixture(20, 48, HessianKind::kCorrelated, 7,
                                                 {.bits = 3, .group = 16, .scale_type = type});
      const LayerSolution s = solve(f, 1, {.effort = effort, .refit_rounds = 2});
      EXPECT_EQ(s.grid.scale_rule.type, type);
      for (int64_t k = 0; k < s.grid.scale.size(); ++k) {
        ASSERT_EQ(s.grid.scale.data()[k],
                  storable_scale(s.grid.scale_rule, 1.0F, s.grid.scale.data()[k]));
      }
      EXPECT_NEAR(s.error, testing::decoded_error(f, s), 1e-4 * s.error);
    }
  }
}

TEST_P(EverySolver, EqualsRtnForADiagonalHessian) {
  testing::Fixture f =
      testing::make_fixture(20, 32, HessianKind::kIdentity, 9, {.bits = 3, .clip = Clip::kNone});
  const LayerSolution s = solve(f, 1, {.move_scales = false});
  EXPECT_NEAR(s.error, s.rtn_error, 1e-6 * s.rtn_error);
}

TEST_P(EverySolver, HugeAndConstantAndZeroRows) {
  testing::Fixture f = testing::make_fixture(6, 32, HessianKind::kCorrelated, 11, {.bits = 3});
  for (int64_t j = 0; j < 32; ++j) {
    f.w(0, j) = 0;
    f.w(1, j) = 0.25F;
    f.w(2, j) *= 1e15F;
    f.w(3, j) *= 1e-15F;
    f.w(4, j) = j == 7 ? 1e9F : f.w(4, j);
  }
  f.grid = (*find_grid("affine"))->fit({.bits = 3}, f.w.view(), f.hessian.diagonal());
  const LayerSolution s = solve(f);
  EXPECT_TRUE(std::isfinite(s.error));
  EXPECT_LE(s.error, s.rtn_error);
  MatrixF q(6, 32);
  decode(s.grid, s.codes.view(), q.view());
  for (int64_t j = 0; j < 32; ++j) EXPECT_EQ(q(0, j), 0.0F);
}

INSTANTIATE_TEST_SUITE_P(Table, EverySolver,
                         ::testing::ValuesIn(solver_table().begin(), solver_table().end()),
                         [](const auto& test) {
                           std::string name(test.param->name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

double solve_named(const char* name, testing::Fixture& f, SolverOptions options = {}) {
  ThreadPool pool(1);
  return (*find_solver(name))->solve({f.w.view(), &f.hessian, &f.grid, {}}, options, pool).error;
}

// The least f over all codes, row by row.
double brute_force(const testing::Fixture& f) {
  const int64_t n = f.w.cols();
  double total = 0;
  for (int64_t i = 0; i < f.w.rows(); ++i) {
    double least = HUGE_VAL;
    std::vector<int> code(static_cast<std::size_t>(n), 0);
    for (;;) {
      double sum = 0;
      for (int64_t a = 0; a < n; ++a) {
        const double ea = static_cast<double>(f.grid.value(
                              i, a, static_cast<uint8_t>(code[static_cast<std::size_t>(a)]))) -
                          f.w(i, a);
        for (int64_t b = 0; b < n; ++b) {
          const double eb = static_cast<double>(f.grid.value(
                                i, b, static_cast<uint8_t>(code[static_cast<std::size_t>(b)]))) -
                            f.w(i, b);
          sum += ea * eb * f.h(a, b);
        }
      }
      least = std::min(least, sum);
      std::size_t at = 0;
      while (at < code.size() && ++code[at] == f.grid.levels) code[at++] = 0;
      if (at == code.size()) break;
    }
    total += least;
  }
  return total;
}

TEST(Solvers, NeverBelowBruteForceAndAdmmNearIt) {
  double best_sum = 0;
  double admm_sum = 0;
  double rtn_sum = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    testing::Fixture f = testing::make_fixture(4, 6, HessianKind::kCorrelated, seed, {.bits = 2});
    const double best = brute_force(f);
    for (const SolverMethod* method : solver_table()) {
      const std::string name(method->name);
      EXPECT_GE(solve_named(name.c_str(), f, {.move_scales = false}), best * (1 - 1e-4))
          << name << " seed " << seed;
    }
    best_sum += best;
    admm_sum += solve_named("admm-q", f, {.move_scales = false});
    rtn_sum += solve_named("rtn", f);
  }
  EXPECT_LT(admm_sum, 1.10 * best_sum);
  EXPECT_GT(rtn_sum, 1.30 * best_sum);
}

// GPTQ written straight from the paper, in double: no blocks, no frame, explicit inverse.
double naive_gptq(const testing::Fixture& f) {
  const auto n = static_cast<std::size_t>(f.w.cols());
  std::vector<std::size_t> order(n);
  for (std::size_t j = 0; j < n; ++j) order[j] = j;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return f.h(static_cast<int64_t>(a), static_cast<int64_t>(a)) >
           f.h(static_cast<int64_t>(b), static_cast<int64_t>(b));
  });
  double mean = 0;
  for (std::size_t j = 0; j < n; ++j) mean += f.h(static_cast<int64_t>(j), static_cast<int64_t>(j));
  mean /= static_cast<double>(n);
  std::vector<std::vector<double>> a(n, std::vector<double>(2 * n, 0.0));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      a[i][j] = f.h(static_cast<int64_t>(order[i]), static_cast<int64_t>(order[j]));
    }
    a[i][i] += 0.01 * mean;
    a[i][n + i] = 1;
  }
  for (std::size_t k = 0; k < n; ++k) {  // Gauss-Jordan
    const double pivot = a[k][k];
    for (double& v : a[k]) v /= pivot;
    for (std::size_t i = 0; i < n; ++i) {
      if (i == k) continue;
      const double by = a[i][k];
      for (std::size_t j = 0; j < 2 * n; ++j) a[i][j] -= by * a[k][j];
    }
  }
  std::vector<std::vector<double>> u(n, std::vector<double>(n, 0.0));  // H^-1 = U^T U, U upper
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i; j < n; ++j) {
      double v = a[i][n + j];
      for (std::size_t k = 0; k < i; ++k) v -= u[k][i] * u[k][j];
      u[i][j] = i == j ? std::sqrt(v) : v / u[i][i];
    }
  }
  MatrixF q(f.w.rows(), f.w.cols());
  for (int64_t row = 0; row < f.w.rows(); ++row) {
    std::vector<double> w(n);
    for (std::size_t j = 0; j < n; ++j) w[j] = f.w(row, static_cast<int64_t>(order[j]));
    for (std::size_t j = 0; j < n; ++j) {
      const auto column = static_cast<int64_t>(order[j]);
      q(row, column) =
          f.grid.value(row, column, project(f.grid, row, column, static_cast<float>(w[j])));
      const double err = (w[j] - q(row, column)) / u[j][j];
      for (std::size_t k = j + 1; k < n; ++k) w[k] -= err * u[j][k];
    }
  }
  return testing::oracle_error(f.w.view(), q.view(), f.h.view());
}

TEST(Gptq, MatchesTheNaiveAlgorithm) {
  double blocked = 0;
  double naive = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    testing::Fixture f =
        testing::make_fixture(8, 150, HessianKind::kCorrelated, seed, {.bits = 3, .group = 50});
    blocked += solve_named("gptq", f);
    naive += naive_gptq(f);
  }
  // Ties that round the other way in fp32 move single codes, so the sums agree, not the codes.
  EXPECT_NEAR(blocked, naive, 0.01 * naive);
}

TEST(QuantEase, FromAnyFeasibleStartNeverRaisesTheError) {
  testing::Fixture f =
      testing::make_fixture(40, 64, HessianKind::kCorrelated, 5, {.bits = 2, .group = 16});
  ThreadPool pool(1);
  for (const SolverMethod* method : solver_table()) {
    const LayerSolution start = method->solve({f.w.view(), &f.hessian, &f.grid, {}}, {}, pool);
    const LayerSolution polished =
        (*find_solver("quantease"))
            ->solve({f.w.view(), &f.hessian, &start.grid, start.codes.view()}, {.iterations = 5},
                    pool);
    EXPECT_LE(polished.error, start.error * (1 + 1e-5)) << method->name;
  }
}

TEST(QuantEase, StartsFromAnotherMethodsCodesAndScales) {
  ThreadPool pool(1);
  for (const char* name : {"rtn", "gptq", "admm-q"}) {
    testing::Fixture f =
        testing::make_fixture(40, 64, HessianKind::kCorrelated, 5, {.bits = 3, .group = 16});
    const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
    const SolverMethod* init = *find_solver(name);
    const LayerSolution start = init->solve(problem, {}, pool);
    const LayerSolution ended = (*find_solver("quantease"))->solve(problem, {.init = init}, pool);
    EXPECT_LE(ended.error, start.error * (1 + 1e-5)) << name;
    EXPECT_EQ(ended.rtn_error, start.rtn_error) << name;
    EXPECT_EQ(0, std::memcmp(ended.grid.scale.data(), start.grid.scale.data(),
                             static_cast<std::size_t>(start.grid.scale.size()) * sizeof(float)))
        << name;
    EXPECT_NEAR(ended.error, testing::decoded_error(f, ended), 1e-4 * ended.error) << name;
  }
}

TEST(AdmmQ, EachPartOfItPays) {
  double full = 0;
  double given_grid = 0;
  double without_search = 0;
  double unpreconditioned = 0;
  double fixed_rho = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    testing::Fixture f =
        testing::make_fixture(32, 96, HessianKind::kCorrelated, seed, {.bits = 2, .group = 32});
    const double all = solve_named("admm-q", f);
    full += all;
    given_grid += solve_named("admm-q", f, {.move_scales = false});
    without_search += solve_named("admm-q", f, {.local_search = 0, .move_scales = false});
    unpreconditioned += solve_named("admm-q", f, {.precondition = false, .move_scales = false});
    fixed_rho += solve_named("admm-q", f, {.grow_rho = false, .move_scales = false});
  }
  EXPECT_LT(full, given_grid);
  EXPECT_LT(given_grid, without_search);
  EXPECT_LT(given_grid, fixed_rho);
  EXPECT_NE(given_grid, unpreconditioned);
}

TEST(TapHessian, RefusesWhatIsNotAHessianAndNamesTheTap) {
  MatrixF h = testing::random_hessian(8, HessianKind::kCorrelated, 1);
  h(5, 2) = std::nanf("");
  auto r = TapHessian::create("block 3 ffn_in", h.view());
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.status().message().find("block 3 ffn_in"), std::string::npos);
  h(5, 2) = 0;
  h(4, 4) = -1;
  EXPECT_FALSE(TapHessian::create("t", h.view()).ok());
  EXPECT_FALSE(TapHessian::create("t", MatrixF(3, 4).view()).ok());
}

}  // namespace
}  // namespace coldpress
