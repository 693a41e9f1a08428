#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace coldpress {
namespace {

TEST(Statistics, MeanAndItsError) {
  const MeanOf m = mean_of({1, 2, 3, 6});
  EXPECT_DOUBLE_EQ(m.mean, 3);
  EXPECT_DOUBLE_EQ(m.standard_error, std::sqrt(3.5 / 3));  // variance 14/4, over n - 1
  EXPECT_EQ(mean_of({5}).standard_error, 0);
}

TEST(Statistics, Percentiles) {
  const Distribution even = distribution_of({4, 1, 3, 2});
  EXPECT_DOUBLE_EQ(even.median, 2.5);
  EXPECT_DOUBLE_EQ(even.percentile_99, 3.97);
  EXPECT_EQ(even.max, 4);
  EXPECT_DOUBLE_EQ(even.mean, 2.5);
  EXPECT_EQ(distribution_of({9, 1, 4}).median, 4);
  EXPECT_EQ(distribution_of({7}).percentile_99, 7);
}

TEST(Statistics, NanShowsEverywhere) {
  const Distribution d = distribution_of({1, std::nan(""), 2});
  EXPECT_TRUE(std::isnan(d.mean) && std::isnan(d.median) && std::isnan(d.max));
}

}  // namespace
}  // namespace coldpress
