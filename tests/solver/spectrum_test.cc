#include "solver/spectrum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "solver/bound.h"
#include "tests/solver/captured_problems.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

double sum_of(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }

double mean_of(const Spectrum& s) {
  return std::inner_product(s.value.begin(), s.value.end(), s.share.begin(), 0.0);
}

double trace_of(const MatrixF& h) {
  double trace = 0;
  for (int64_t j = 0; j < h.rows(); ++j) trace += h(j, j);
  return trace;
}

struct Both {
  Spectrum exact;
  Spectrum estimated;
};

Both spectra(int64_t n, HessianKind kind) {
  const MatrixF h = testing::random_hessian(n, kind, 3);
  const TapHessian tap = TapHessian::create("t", h.view()).value();
  ThreadPool pool(2);
  return {exact_spectrum(tap.correlation(), tap.d()),
          estimated_spectrum(tap.correlation(), tap.d(), pool)};
}

TEST(Spectrum, ExactMeanIsThatOfTheDiagonal) {
  const MatrixF h = testing::random_hessian(40, HessianKind::kCorrelated, 3);
  TapHessian tap = TapHessian::create("t", h.view()).value();
  ThreadPool pool(1);
  const double mean = mean_of(tap.spectrum(pool)) * tap.scale() * tap.scale();
  EXPECT_NEAR(mean, trace_of(h) / 40, 1e-4 * mean);
}

class SpectrumOfKind : public ::testing::TestWithParam<HessianKind> {};

// The bound is what the estimate is for: within 4 % at few columns, where it is least exact. Where
// half of the eigenvalues are 0, their share is estimated, too: within a third.
TEST_P(SpectrumOfKind, EstimateGivesTheBound) {
  const auto [exact, estimated] = spectra(300, GetParam());
  EXPECT_NEAR(sum_of(estimated.share), 1.0, 1e-6);
  const MatrixF w = testing::random_weights(3, 300, 1);
  for (const double bits : {2.0, 3.0, 4.0}) {
    const double bound = rate_distortion_bound(w.view(), exact, bits);
    const double most = (GetParam() == HessianKind::kSingular ? 0.33 : 0.04) * bound;
    EXPECT_NEAR(rate_distortion_bound(w.view(), estimated, bits), bound, most) << bits;
  }
}

TEST_P(SpectrumOfKind, EstimateOfTheLargestIsFromBelow) {
  const auto [exact, estimated] = spectra(300, GetParam());
  EXPECT_LE(estimated.largest(), 1.0001 * exact.largest());
  EXPECT_GE(estimated.largest(), 0.99 * exact.largest());
}

TEST(Spectrum, EstimateGivesTheBoundOfCapturedLayersWithin3Percent) {
  std::vector<testing::CapturedProblem> problems = testing::captured_problems();
  if (problems.empty()) GTEST_SKIP() << testing::captured_path() << " is absent";
  for (testing::CapturedProblem& p : problems) {
    ThreadPool pool(1);
    const Spectrum estimated = estimated_spectrum(p.hessian.correlation(), p.hessian.d(), pool);
    for (const double bits : {2.0, 4.0}) {
      const double bound = rate_distortion_bound(p.w.view(), p.hessian.spectrum(pool), bits);
      const double ours = rate_distortion_bound(p.w.view(), estimated, bits);
      EXPECT_NEAR(ours, bound, 0.03 * bound) << p.name << " " << bits << " bits";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SpectrumOfKind,
                         ::testing::Values(HessianKind::kCorrelated, HessianKind::kIdentity,
                                           HessianKind::kZero, HessianKind::kSingular,
                                           HessianKind::kHuge, HessianKind::kTiny,
                                           HessianKind::kDead));

TEST(Spectrum, EstimateIsExactWhereStepsReachEveryEigenvalue) {
  const auto [exact, estimated] = spectra(1, HessianKind::kCorrelated);
  ASSERT_EQ(exact.value.size(), 1U);
  EXPECT_NEAR(mean_of(estimated), exact.value[0], 1e-6 * exact.value[0]);
}

TEST(Spectrum, EstimateIsTheSameEveryTime) {
  const Both first = spectra(100, HessianKind::kCorrelated);
  const Both again = spectra(100, HessianKind::kCorrelated);
  EXPECT_EQ(first.estimated.value, again.estimated.value);
  EXPECT_EQ(first.estimated.share, again.estimated.share);
}

// Beyond 1536 columns the estimate is what a run reports.
TEST(Spectrum, WideTapsAreEstimated) {
  constexpr int64_t kColumns = 1600;
  MatrixF h(kColumns, kColumns);
  for (int64_t j = 0; j < kColumns; ++j) h(j, j) = std::exp2(static_cast<float>(j % 8));
  TapHessian tap = TapHessian::create("t", h.view()).value();
  ThreadPool pool(2);
  const Spectrum& spectrum = tap.spectrum(pool);
  EXPECT_NE(spectrum.value.size(), static_cast<std::size_t>(kColumns));
  // theta = 1 at a mean of 3.5 / 2 bits, where every eigenvalue is poured full.
  const MatrixF w = testing::random_weights(1, kColumns, 1);
  const double unit = tap.scale() * tap.scale();
  double energy = 0;
  for (int64_t j = 0; j < kColumns; ++j) energy += static_cast<double>(w(0, j)) * w(0, j);
  EXPECT_NEAR(unit * rate_distortion_bound(w.view(), spectrum, 1.75), energy, 0.02 * energy);
}

}  // namespace
}  // namespace coldpress
