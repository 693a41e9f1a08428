#include "eval/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace coldpress {
namespace {

std::vector<double> log_softmax(const std::vector<float>& logits) {
  double max = -std::numeric_limits<double>::infinity();
  for (const float v : logits) max = std::max(max, static_cast<double>(v));
  double sum = 0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - max);
  std::vector<double> out;
  for (const float v : logits) out.push_back(static_cast<double>(v) - max - std::log(sum));
  return out;
}

double oracle(const std::vector<float>& p_logits, const std::vector<float>& q_logits) {
  const std::vector<double> p = log_softmax(p_logits);
  const std::vector<double> q = log_softmax(q_logits);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return sum;
}

std::vector<float> normal(int64_t n, double scale, Rng& rng) {
  std::vector<float> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(static_cast<float>(scale * rng.normal() + 5));
  return out;
}

// Each term is an fp32 exponential (2 ulp) times an fp32 difference of logits, block sums of 16
// terms per lane: relative to the sum of |terms|, which is at most a few dozen nats here.
constexpr double kOfItsSize = 20 * 0x1p-24;

TEST(RowDivergence, MatchesDoublePrecisionBothWays) {
  Rng rng(3);
  for (const int64_t n : {1, 2, 31, 32, 33, 512, 513, 49152}) {
    for (const double scale : {0.1, 3.0}) {
      for (const double noise : {1e-3, 0.1, 2.0}) {
        const std::vector<float> p = normal(n, scale, rng);
        std::vector<float> q = p;
        for (float& v : q) v += static_cast<float>(noise * rng.normal());
        const RowDivergence d = row_divergence(p, q);
        const double size = 1 + 10 * noise;
        EXPECT_NEAR(d.forward, oracle(p, q), kOfItsSize * size)
            << n << " " << scale << " " << noise;
        EXPECT_NEAR(d.reverse, oracle(q, p), kOfItsSize * size)
            << n << " " << scale << " " << noise;
      }
    }
  }
}

TEST(RowDivergence, OfUnrelatedRowsIsStillRight) {
  Rng rng(4);
  const std::vector<float> p = normal(5000, 10, rng);
  const std::vector<float> q = normal(5000, 10, rng);
  const RowDivergence d = row_divergence(p, q);
  EXPECT_NEAR(d.forward, oracle(p, q), 1e-6 * oracle(p, q));
  EXPECT_NEAR(d.reverse, oracle(q, p), 1e-6 * oracle(q, p));
  EXPECT_FALSE(d.same_top);
}

TEST(RowDivergence, OfARowFromItselfIsZero) {
  Rng rng(5);
  const std::vector<float> p = normal(1001, 3, rng);
  const RowDivergence d = row_divergence(p, p);
  EXPECT_EQ(d.forward, 0);
  EXPECT_EQ(d.reverse, 0);
  EXPECT_TRUE(d.same_top);
}

TEST(RowDivergence, AShiftOfAllLogitsChangesNothing) {
  const std::vector<float> p = {1, 2, 4};
  const std::vector<float> q = {9, 10, 12};
  EXPECT_EQ(row_divergence(p, q).forward, 0);
}

TEST(RowDivergence, TheTopIsTheFirstOfTheLargest) {
  EXPECT_TRUE(row_divergence(std::vector<float>{0, 2, 2}, std::vector<float>{0, 2, 1}).same_top);
  EXPECT_FALSE(row_divergence(std::vector<float>{0, 2, 2}, std::vector<float>{0, 1, 2}).same_top);
}

TEST(RowDivergence, NanAndInfinityGiveNan) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{17}, std::size_t{40}}) {
      const std::vector<float> good(41, 0.5F);
      std::vector<float> rotten = good;
      rotten[at] = bad;
      EXPECT_TRUE(std::isnan(row_divergence(rotten, good).forward)) << bad << " at " << at;
      EXPECT_TRUE(std::isnan(row_divergence(good, rotten).forward)) << bad << " at " << at;
      EXPECT_TRUE(std::isnan(row_divergence(good, rotten).reverse)) << bad << " at " << at;
    }
  }
}

}  // namespace
}  // namespace coldpress
