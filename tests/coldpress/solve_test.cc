// The library's solve_layer(): what it returns belongs together, and what it refuses.
#include "coldpress/solve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "coldpress/version.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 24;
constexpr int64_t kCols = 64;

MatrixF weights() { return testing::random_weights(kRows, kCols, 3); }
MatrixF gram() { return testing::random_hessian(kCols, testing::HessianKind::kCorrelated, 4); }

double relative_error(const MatrixF& w, const MatrixF& q, const MatrixF& h) {
  return testing::oracle_error(w.view(), q.view(), h.view()) /
         testing::oracle_error(w.view(), MatrixF(kRows, kCols).view(), h.view());
}

void expect_refusal(const MatrixF& w, const MatrixF& h, const MethodOptions& options,
                    const std::string& part) {
  const auto layer = solve_layer(w.view(), h.view(), options, 1);
  ASSERT_FALSE(layer.ok()) << part;
  EXPECT_EQ(layer.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(layer.status().message(), HasSubstr(part));
}

TEST(SolveLayer, WeightErrorAndBoundBelongToTheCodes) {
  const MatrixF w = weights();
  const MatrixF h = gram();
  for (const char* method : {"rtn", "gptq", "quantease", "admm-q"}) {
    SCOPED_TRACE(method);
    const auto layer =
        solve_layer(w.view(), h.view(), {.method = method, .bits = 3, .group = 32}, 2);
    ASSERT_TRUE(layer.ok()) << layer.status().message();
    ASSERT_EQ(layer->scales.cols(), 2);
    EXPECT_EQ(layer->group, 32);
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kCols; ++j) {
        EXPECT_LT(layer->codes(i, j), 8);
        EXPECT_EQ(layer->weight(i, j),
                  layer->scales(i, j / 32) *
                      (static_cast<float>(layer->codes(i, j)) - layer->zeros(i, j / 32)));
      }
    }
    // fp32 sums over 64 columns against double ones.
    EXPECT_NEAR(layer->error, relative_error(w, layer->weight, h), 1e-4 * layer->error);
    EXPECT_LE(layer->error, layer->rtn_error * (1 + 1e-6));
    EXPECT_GT(layer->bound, 0);
    EXPECT_LT(layer->bound, layer->error);
    EXPECT_NEAR(layer->bits_per_weight, 3 + 19.0 / 32, 1e-12);  // fp16 scale, 3 bits of zero
  }
}

TEST(SolveLayer, BetterMethodsHaveSmallerErrors) {
  const MatrixF w = weights();
  const MatrixF h = gram();
  const auto error = [&](const char* method) {
    return solve_layer(w.view(), h.view(), {.method = method, .bits = 3}, 1)->error;
  };
  EXPECT_LT(error("gptq"), error("rtn"));
  EXPECT_LT(error("admm-q"), error("gptq"));
}

TEST(SolveLayer, TablesOfLevelsAndOutliersAreInTheWeight) {
  const MatrixF w = weights();
  const MatrixF h = gram();
  const auto nf4 = solve_layer(w.view(), h.view(), {.method = "gptq", .grid = "nf4"}, 1);
  ASSERT_TRUE(nf4.ok()) << nf4.status().message();
  ASSERT_EQ(nf4->levels.size(), 16u);
  EXPECT_EQ(nf4->weight(1, 2),
            nf4->scales(1, 0) * (nf4->levels[nf4->codes(1, 2)] - nf4->zeros(1, 0)));

  const auto outliers =
      solve_layer(w.view(), h.view(), {.method = "gptq-outliers", .bits = 3, .outliers = 0.02}, 1);
  ASSERT_TRUE(outliers.ok()) << outliers.status().message();
  EXPECT_NEAR(outliers->error, relative_error(w, outliers->weight, h), 1e-4 * outliers->error);
  EXPECT_GT(outliers->bits_per_weight, 3.3);
}

TEST(SolveLayer, TheUnitOfHAndTheThreadsDoNotMatter) {
  const MatrixF w = weights();
  const MatrixF h = gram();
  MatrixF scaled = h.clone();
  for (int64_t k = 0; k < scaled.size(); ++k) scaled.data()[k] *= 1024;
  const auto one = solve_layer(w.view(), h.view(), {.bits = 3}, 1);
  const auto two = solve_layer(w.view(), scaled.view(), {.bits = 3}, 3);
  ASSERT_TRUE(one.ok() && two.ok());
  for (int64_t k = 0; k < w.size(); ++k) {
    ASSERT_EQ(one->weight.data()[k], two->weight.data()[k]) << k;
  }
  EXPECT_EQ(one->error, two->error);
}

TEST(SolveLayer, RefusesWhatHasNoAnswer) {
  const MatrixF w = weights();
  const MatrixF h = gram();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  MatrixF bad_w = w.clone();
  bad_w(2, 3) = nan;
  expect_refusal(bad_w, h, {}, "W holds nan at (2, 3)");
  MatrixF upper = h.clone();
  upper(1, 5) = nan;
  expect_refusal(w, upper, {}, "H is not symmetric");
  MatrixF lower = h.clone();
  lower(5, 1) = nan;
  expect_refusal(w, lower, {}, "nan at (5, 1)");
  MatrixF lopsided = h.clone();
  lopsided(5, 1) += 0.01F * h(5, 5);
  expect_refusal(w, lopsided, {}, "H is not symmetric");
  MatrixF negative = h.clone();
  negative(7, 7) = -1;
  expect_refusal(w, negative, {}, "negative diagonal");
  expect_refusal(w, MatrixF(8, 8), {}, "H must be 64 x 64, but it is 8 x 8");
  expect_refusal(MatrixF(0, 64), h, {}, "no weights");
}

TEST(SolveLayer, RefusesOptionsThatItDoesNotHave) {
  const MatrixF w = weights();
  const MatrixF h = gram();
  expect_refusal(w, h, {.method = "magic"}, "unknown method 'magic'; known: ");
  expect_refusal(w, h, {.bits = 9}, "--bits 9 is not possible; use 2 to 8");
  expect_refusal(w, h, {.group = 48}, "--group 48 does not divide 64 columns");
  expect_refusal(w, h, {.effort = 6}, "--effort 6");
  expect_refusal(w, h, {.init = "rtn"}, "--init is for quantease");
  expect_refusal(w, h, {.refit = -1}, "--refit -1");
  expect_refusal(w, h, {.outliers = 0.1}, "--outliers is not possible with --method admm-q");
  expect_refusal(w, h, {.outlier_mode = "rows"}, "--outlier-mode 'rows'");
  expect_refusal(w, h, {.grid = "cubes"}, "unknown grid 'cubes'");
  expect_refusal(w, h, {.grid = "q4_0"}, "is a format of GGUF blocks");
  expect_refusal(w, h, {.clip = "maybe"}, "--clip 'maybe'");
  expect_refusal(w, h, {.scale_type = "f8"}, "--scale-type 'f8' is not possible; use one of f16");
  EXPECT_FALSE(solve_layer(w.view(), h.view(), {}, -1).ok());
}

TEST(Version, IsTheProjects) { EXPECT_THAT(version(), ::testing::MatchesRegex("[0-9.]+")); }

}  // namespace
}  // namespace coldpress
