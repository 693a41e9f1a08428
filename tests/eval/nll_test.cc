#include "eval/nll.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace coldpress {
namespace {

double oracle(const std::vector<float>& logits, int32_t target) {
  double max = -std::numeric_limits<double>::infinity();
  for (const float v : logits) max = std::max(max, static_cast<double>(v));
  double sum = 0.0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - max);
  return std::log(sum) + max - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

// The largest error: e^x in fp32 is good to about 2 ulp, a block's fp32 sum to (512/32) ulp.
constexpr double kTolerance = 20 * 0x1p-24;

TEST(Nll, MatchesDoublePrecision) {
  Rng rng(7);
  for (const int64_t n : {1, 2, 31, 32, 33, 511, 512, 513, 49152, 50001}) {
    for (const double scale : {0.0, 0.1, 3.0, 30.0}) {
      std::vector<float> logits;
      for (int64_t i = 0; i < n; ++i) {
        logits.push_back(static_cast<float>(scale * rng.normal() + 5.0));
      }
      const auto target = static_cast<int32_t>(rng.below(static_cast<uint64_t>(n)));
      EXPECT_NEAR(negative_log_likelihood(logits, target), oracle(logits, target), kTolerance)
          << n << " logits of scale " << scale;
    }
  }
}

// Each value of e^x on its own: two logits, one of them the maximum.
TEST(Nll, EveryExponentialIsAccurate) {
  for (int i = 0; i <= 87000; ++i) {
    const float x = -static_cast<float>(i) / 1000.0F;
    std::vector<float> logits(33, -200.0F);  // in the vectorised part
    logits[3] = 0.0F;
    logits[20] = x;
    const double expected = std::log1p(std::exp(static_cast<double>(x)));
    EXPECT_NEAR(negative_log_likelihood(logits, 3), expected, 4 * 0x1p-24 * expected + 1e-12) << x;
  }
}

TEST(Nll, LargeLogitsDoNotOverflow) {
  const std::vector<float> logits = {3e38F, -3e38F, 3e38F};
  EXPECT_NEAR(negative_log_likelihood(logits, 0), std::log(2.0), kTolerance);
}

TEST(Nll, NanAndInfinityGiveNan) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{17}, std::size_t{40}}) {
      std::vector<float> logits(41, 0.5F);
      logits[at] = bad;
      EXPECT_TRUE(std::isnan(negative_log_likelihood(logits, 1))) << bad << " at " << at;
    }
  }
}

}  // namespace
}  // namespace coldpress
