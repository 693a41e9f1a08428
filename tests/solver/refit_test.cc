#include "solver/refit.h"

#include <gtest/gtest.h>

#include "solver/error_feedback.h"
#include "solver/polish.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

double total_error(const Strip& strip, View2<const float> q) {
  MatrixF e(strip.n(), strip.lanes());
  MatrixF product(strip.n(), strip.lanes());
  for (int64_t at = 0; at < e.size(); ++at) e.data()[at] = strip.w().data[at] - q.data[at];
  double sum = 0;
  for (const double f : strip.errors(e.view(), product.view())) sum += f;
  return sum;
}

TEST(RefitScales, NeverRaisesTheErrorAndIsAMinimum) {
  testing::Fixture f =
      testing::make_fixture(12, 64, HessianKind::kCorrelated, 4, {.bits = 3, .group = 16});
  const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
  Strip strip(problem, 0, 12);
  ThreadPool pool(1);
  MatrixF q = error_feedback(strip, *f.hessian.gptq_factor(1, pool)).q;
  const double before = total_error(strip, q.view());
  refit_scales(&strip, q.view());
  const double after = total_error(strip, q.view());
  EXPECT_LT(after, before);
  // Any small change of one group's scale, with the codes fixed, is worse.
  for (int64_t g = 0; g < 4; ++g) {
    for (const float factor : {0.98F, 1.02F}) {
      MatrixF moved = q.clone();
      for (int64_t j = g * 16; j < (g + 1) * 16; ++j) {
        for (int64_t i = 0; i < strip.lanes(); ++i) moved(j, i) *= factor;
      }
      EXPECT_GT(total_error(strip, moved.view()), after);
    }
  }
}

TEST(RefitScales, ANegativeScaleIsRefittedLikeAPositiveOne) {
  testing::Fixture f =
      testing::make_fixture(12, 64, HessianKind::kCorrelated, 4,
                            {.bits = 4, .group = 32, .symmetric = true, .scale_type = DType::kF32});
  MatrixF mirrored_w = f.w.clone();
  QuantGrid mirrored_grid = f.grid.clone();
  for (int64_t k = 0; k < f.w.size(); ++k) mirrored_w.data()[k] *= -1;
  for (int64_t k = 0; k < f.grid.scale.size(); ++k) mirrored_grid.scale.data()[k] *= -1;
  const auto refitted = [&](const MatrixF& w, const QuantGrid& grid) {
    const LayerProblem problem{w.view(), &f.hessian, &grid, {}};
    Strip strip(problem, 0, 12);
    MatrixF q = strip.round_to_nearest();
    const double before = total_error(strip, q.view());
    refit_scales(&strip, q.view());
    const double after = total_error(strip, q.view());
    EXPECT_LT(after, 0.999 * before);
    return after;
  };
  const double plain = refitted(f.w, f.grid);
  EXPECT_NEAR(refitted(mirrored_w, mirrored_grid), plain, 1e-5 * plain);
}

TEST(RefitScales, KeepsTheCodes) {
  testing::Fixture f =
      testing::make_fixture(7, 48, HessianKind::kCorrelated, 6, {.bits = 2, .group = 12});
  const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
  Strip strip(problem, 0, 7);
  MatrixF q = strip.round_to_nearest();
  Matrix<uint8_t> before(7, 48);
  Matrix<uint8_t> after(7, 48);
  QuantGrid grid = f.grid.clone();
  strip.store(q.view(), before.view(), &grid);
  refit_scales(&strip, q.view());
  strip.store(q.view(), after.view(), &grid);
  EXPECT_EQ(0, std::memcmp(before.data(), after.data(), 7 * 48));
  MatrixF values(7, 48);
  decode(grid, after.view(), values.view());
  EXPECT_NEAR(testing::oracle_error(f.w.view(), values.view(), f.h.view()),
              total_error(strip, q.view()), 1e-5 * total_error(strip, q.view()));
}

TEST(RefitScales, LeavesAloneWhatCannotBeSolved) {
  for (const HessianKind kind : {HessianKind::kZero, HessianKind::kRankOne, HessianKind::kDead}) {
    testing::Fixture f = testing::make_fixture(5, 24, kind, 6, {.bits = 2, .group = 6});
    const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
    Strip strip(problem, 0, 5);
    MatrixF q = strip.round_to_nearest();
    const double before = total_error(strip, q.view());
    refit_scales(&strip, q.view());
    for (int64_t g = 0; g < 4; ++g) {
      for (int64_t i = 0; i < 5; ++i) {
        EXPECT_GT(strip.scales()(g, i), 0.0F);
        EXPECT_TRUE(std::isfinite(strip.scales()(g, i)));
      }
    }
    EXPECT_LE(total_error(strip, q.view()), before * (1 + 1e-4) + 1e-12);
  }
}

TEST(Polish, RefitRoundsPayForMethodsWithFrozenScales) {
  ThreadPool pool(1);
  for (const char* name : {"rtn", "gptq", "quantease"}) {
    testing::Fixture f =
        testing::make_fixture(32, 96, HessianKind::kCorrelated, 8, {.bits = 3, .group = 32});
    const SolverMethod& method = **find_solver(name);
    const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
    const double plain = method.solve(problem, {}, pool).error;
    EXPECT_LT(method.solve(problem, {.refit_rounds = 2}, pool).error, plain) << name;
  }
}

// With the codes fixed: f of the refitted scales against rounding the best fp32 ones, and against
// one step of any scale to its neighbours in the type.
TEST(RefitScales, InANarrowTypeBeatsRoundingTheBestAndNoSingleStepImproves) {
  double in_type = 0;
  double rounded = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    testing::Fixture f = testing::make_fixture(
        12, 64, HessianKind::kCorrelated, seed,
        {.bits = 8, .group = 16, .clip = Clip::kNone, .scale_type = DType::kBF16});
    const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
    Strip strip(problem, 0, 12);
    MatrixF q = strip.round_to_nearest();
    MatrixF same_codes = q.clone();
    refit_scales(&strip, q.view());
    const double after = total_error(strip, q.view());
    in_type += after;

    QuantGrid free_grid = f.grid.clone();
    free_grid.scale_rule = {};
    const LayerProblem free_problem{f.w.view(), &f.hessian, &free_grid, {}};
    Strip free(free_problem, 0, 12);
    refit_scales(&free, same_codes.view());
    const auto scale_group = [](MatrixF* m, int64_t g, int64_t i, float factor) {
      for (int64_t j = g * 16; j < (g + 1) * 16; ++j) (*m)(j, i) *= factor;
    };
    for (int64_t g = 0; g < 4; ++g) {
      for (int64_t i = 0; i < 12; ++i) {
        const float s = free.scales()(g, i);
        scale_group(&same_codes, g, i, strip.storable(g, i, s) / s);
      }
    }
    rounded += total_error(free, same_codes.view());

    const int64_t g = static_cast<int64_t>(seed);
    for (int64_t i = 0; i < 12; ++i) {
      for (const float step : {1.0F - 0x1p-8F, 1.0F + 0x1p-7F}) {
        const float s = strip.scales()(g, i);
        MatrixF moved = q.clone();
        scale_group(&moved, g, i, strip.storable(g, i, s * step) / s);
        EXPECT_GT(total_error(strip, moved.view()), after * (1 - 1e-5));
      }
    }
  }
  EXPECT_LT(in_type, 0.9 * rounded);
}

TEST(AdmmQ, IsNeverAboveGptqAndMoreEffortIsNeverWorse) {
  ThreadPool pool(1);
  const HessianKind kinds[] = {HessianKind::kCorrelated, HessianKind::kSingular,
                               HessianKind::kScaled, HessianKind::kDead};
  for (const HessianKind kind : kinds) {
    for (const int bits : {2, 3, 4, 6, 8}) {
      testing::Fixture f = testing::make_fixture(24, 64, kind, 8, {.bits = bits, .group = 32});
      const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
      const double gptq = (*find_solver("gptq"))->solve(problem, {}, pool).error;
      const double admm = (*find_solver("admm-q"))->solve(problem, {}, pool).error;
      const double most = (*find_solver("admm-q"))->solve(problem, {.effort = 5}, pool).error;
      EXPECT_LE(admm, gptq * (1 + 1e-5)) << static_cast<int>(kind) << " " << bits;
      const double quantease = (*find_solver("quantease"))->solve(problem, {}, pool).error;
      EXPECT_LE(admm, quantease * (1 + 1e-5)) << static_cast<int>(kind) << " " << bits;
      EXPECT_LE(most, admm * 1.005) << static_cast<int>(kind) << " " << bits;
    }
  }
}

}  // namespace
}  // namespace coldpress
