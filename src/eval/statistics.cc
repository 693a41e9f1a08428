#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/check.h"

namespace coldpress {
namespace {

// `sorted` ascending; 0 <= fraction <= 1.
double percentile(const std::vector<double>& sorted, double fraction) {
  const double at = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double share = at - static_cast<double>(below);
  return (1 - share) * sorted[below] + share * sorted[above];
}

}  // namespace

MeanOf mean_of(const std::vector<double>& values) {
  COLDPRESS_CHECK(!values.empty());
  double sum = 0.0;
  double squares = 0.0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
  }
  const auto n = static_cast<double>(values.size());
  const double mean = sum / n;
  const double variance = squares / n - mean * mean;
  return {mean, std::sqrt(std::max(0.0, variance) / std::max(1.0, n - 1.0))};
}

Distribution distribution_of(std::vector<double> values) {
  const MeanOf mean = mean_of(values);
  if (std::isnan(mean.mean)) return {mean.mean, mean.mean, mean.mean, mean.mean, mean.mean};
  std::sort(values.begin(), values.end());
  return {mean.mean, mean.standard_error, percentile(values, 0.5), percentile(values, 0.99),
          values.back()};
}

}  // namespace coldpress
