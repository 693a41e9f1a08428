// Summaries of one number per token. Tokens count as independent, as llama.cpp's tools do, though
// those of one window are not quite.
#pragma once

#include <vector>

namespace coldpress {

struct MeanOf {
  double mean = 0;
  double standard_error = 0;  // of the mean; 0 for a single value
};

// Of at least one value; NaN where one is NaN.
MeanOf mean_of(const std::vector<double>& values);

struct Distribution {
  double mean = 0;
  double standard_error = 0;  // of the mean
  double median = 0;
  double percentile_99 = 0;
  double max = 0;
};

// Percentiles lie on the straight line between the two values next to them. NaN throughout where a
// value is NaN.
Distribution distribution_of(std::vector<double> values);

}  // namespace coldpress
