// Every solver on the table grids, and the strip's projection onto them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "solver/strip.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

class LevelGridStrip : public ::testing::TestWithParam<const char*> {};

// With H = 1 and power-of-two scales the frame is exact, so that ties are ties on both sides.
TEST_P(LevelGridStrip, ProjectsAsTheGridDoesAtLevelsTiesAndFarAway) {
  testing::Fixture f =
      testing::make_fixture(3, 8, HessianKind::kIdentity, 1, {.kind = GetParam(), .group = 4});
  for (int64_t k = 0; k < f.grid.scale.size(); ++k) f.grid.scale.data()[k] = k % 2 == 0 ? 0.25F : 4;
  const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
  const Strip strip(problem, 0, 3);
  const auto d = f.hessian.d()[0];
  ASSERT_EQ(d, 1.0F);
  std::vector<float> points = {1e30F, -1e30F, 0.0F, std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity()};
  for (std::size_t c = 0; c < f.grid.level.size(); ++c) {
    const float level = f.grid.level[c];
    for (const float eps : {0.0F, 1e-3F, -1e-3F}) points.push_back(level + eps);
    if (c + 1 == f.grid.level.size()) continue;
    const float middle = 0.5F * (level + f.grid.level[c + 1]);
    points.push_back(middle);  // a tie
    points.push_back(std::nextafter(middle, 10.0F));
    points.push_back(std::nextafter(middle, -10.0F));
  }
  MatrixF t(1, strip.lanes());
  MatrixF q(1, strip.lanes());
  for (int64_t j = 0; j < 8; ++j) {
    for (const float point : points) {
      for (int64_t i = 0; i < 3; ++i) t(0, i) = point * strip.scales()(j / 4, i);
      strip.project(j, t.data(), q.data());
      for (int64_t i = 0; i < 3; ++i) {
        const float w = point * f.grid.scale(i, j / 4);
        const float expected = f.grid.level[project(f.grid, i, j, w)];
        EXPECT_EQ(q(0, i), strip.scales()(j / 4, i) * expected) << "point " << point;
        if (!std::isfinite(w)) continue;
        for (const float level : f.grid.level) {
          EXPECT_LE(std::abs(expected - point), std::abs(level - point) + 1e-6F);
        }
      }
    }
  }
}

TEST_P(LevelGridStrip, NaNGivesTheLowestCode) {
  testing::Fixture f = testing::make_fixture(2, 4, HessianKind::kIdentity, 1, {.kind = GetParam()});
  const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
  const Strip strip(problem, 0, 2);
  MatrixF t(1, strip.lanes());
  t(0, 0) = std::numeric_limits<float>::quiet_NaN();
  MatrixF q(1, strip.lanes());
  strip.project(0, t.data(), q.data());
  EXPECT_EQ(q(0, 0), strip.scales()(0, 0) * f.grid.level.front());
  EXPECT_EQ(project(f.grid, 0, 0, t(0, 0)), 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, LevelGridStrip, ::testing::Values("nf4", "fp4"),
                         [](const auto& test) { return std::string(test.param); });

using MethodAndGrid = std::tuple<const char*, const char*>;
class SolverOnLevels : public ::testing::TestWithParam<MethodAndGrid> {};

TEST_P(SolverOnLevels, NeverWorseThanRtnItsErrorIsThatOfItsCodes) {
  const auto [name, grid] = GetParam();
  const SolverMethod& method = **find_solver(name);
  uint64_t seed = 1;
  for (const HessianKind kind :
       {HessianKind::kCorrelated, HessianKind::kIdentity, HessianKind::kZero, HessianKind::kRankOne,
        HessianKind::kSingular, HessianKind::kScaled, HessianKind::kDead}) {
    for (const int64_t group : {0, 8}) {
      SCOPED_TRACE(::testing::Message() << "H " << static_cast<int>(kind) << " group " << group);
      testing::Fixture f =
          testing::make_fixture(5, 24, kind, ++seed, {.kind = grid, .group = group});
      ThreadPool pool(1);
      const LayerSolution s = method.solve({f.w.view(), &f.hessian, &f.grid, {}}, {}, pool);
      EXPECT_LE(s.error, s.rtn_error);
      for (int64_t k = 0; k < s.codes.size(); ++k) ASSERT_LT(s.codes.data()[k], f.grid.levels);
      for (int64_t k = 0; k < s.grid.zero.size(); ++k) ASSERT_EQ(s.grid.zero.data()[k], 0.0F);
      EXPECT_EQ(s.grid.level, f.grid.level);
      const double oracle = testing::decoded_error(f, s);
      EXPECT_NEAR(s.error, oracle, 1e-4 * std::max(s.rtn_error, oracle) + 1e-6 * s.energy);
    }
  }
}

TEST_P(SolverOnLevels, HasTheSameBytesForAnyThreadCount) {
  const auto [name, grid] = GetParam();
  testing::Fixture f =
      testing::make_fixture(450, 48, HessianKind::kCorrelated, 3, {.kind = grid, .group = 16});
  ThreadPool one(1);
  ThreadPool three(3);
  const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
  const LayerSolution a = (*find_solver(name))->solve(problem, {}, one);
  const LayerSolution b = (*find_solver(name))->solve(problem, {}, three);
  EXPECT_EQ(0,
            std::memcmp(a.codes.data(), b.codes.data(), static_cast<std::size_t>(a.codes.size())));
  EXPECT_EQ(a.error, b.error);
}

INSTANTIATE_TEST_SUITE_P(Table, SolverOnLevels,
                         ::testing::Combine(::testing::Values("rtn", "gptq", "quantease", "admm-q"),
                                            ::testing::Values("nf4", "fp4")),
                         [](const auto& test) {
                           std::string name =
                               std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(SolversOnLevels, LowerTheErrorOfRounding) {
  for (const char* grid : {"nf4", "fp4"}) {
    testing::Fixture f =
        testing::make_fixture(64, 96, HessianKind::kCorrelated, 5, {.kind = grid, .group = 32});
    ThreadPool pool(1);
    const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
    const auto error = [&](const char* name) {
      return (*find_solver(name))->solve(problem, {}, pool).error;
    };
    const double gptq = error("gptq");
    EXPECT_LT(gptq, 0.9 * error("rtn")) << grid;
    EXPECT_LT(error("quantease"), error("rtn")) << grid;
    EXPECT_LT(error("admm-q"), gptq) << grid;
  }
}

}  // namespace
}  // namespace coldpress
