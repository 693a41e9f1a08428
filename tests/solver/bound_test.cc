#include "solver/bound.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

TEST(RateDistortionBound, WhiteSpectrumIsTwoToTheMinusTwoBits) {
  const MatrixF w = testing::random_weights(3, 50, 1);
  double energy = 0;
  for (int64_t k = 0; k < w.size(); ++k) energy += static_cast<double>(w.data()[k]) * w.data()[k];
  const Spectrum spectrum = {{2.0}, {1.0}};
  for (const double bits : {1.0, 2.0, 3.5}) {
    EXPECT_NEAR(rate_distortion_bound(w.view(), spectrum, bits), 2 * energy * std::exp2(-2 * bits),
                1e-6 * energy);
  }
}

TEST(RateDistortionBound, PoursWaterOnlyWhereItHelps) {
  const Spectrum spectrum = {{1.0, 16.0}, {0.5, 0.5}};
  // Eigenvalues 1 and 16 at 1 bit: theta = 1 leaves (0 + 2) / 2 = 1 bit, and distortion 1 + 1.
  MatrixF w(1, 2);
  w(0, 0) = 1;
  w(0, 1) = 1;
  EXPECT_NEAR(rate_distortion_bound(w.view(), spectrum, 1.0), 2.0, 1e-6);
  // At 0.5 bit: theta = 4 on the large one, the small one is left out: 1 + 4.
  EXPECT_NEAR(rate_distortion_bound(w.view(), spectrum, 0.5), 5.0, 1e-6);
}

TEST(RateDistortionBound, NoSolverIsBelowIt) {
  ThreadPool pool(1);
  testing::Fixture f =
      testing::make_fixture(40, 64, testing::HessianKind::kCorrelated, 7, {.bits = 3});
  const double unit = f.hessian.scale() * f.hessian.scale();
  const double bound = unit * rate_distortion_bound(f.w.view(), f.hessian.spectrum(pool), 3);
  for (const SolverMethod* m : solver_table()) {
    EXPECT_GT(m->solve({f.w.view(), &f.hessian, &f.grid, {}}, {}, pool).error, bound) << m->name;
  }
}

}  // namespace
}  // namespace coldpress
