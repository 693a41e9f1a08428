#include "eval/nll.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "eval/softmax.h"

namespace coldpress {
namespace {

// At most kSoftmaxBlock elements, in kSoftmaxLanes fp32 sums.
double sum_of_exp(const float* v, std::size_t n, float max) {
  std::array<float, kSoftmaxLanes> lanes{};
  std::size_t i = 0;
  for (; i + kSoftmaxLanes <= n; i += kSoftmaxLanes) {
#pragma omp simd
    for (std::size_t j = 0; j < kSoftmaxLanes; ++j) lanes[j] += exp_nonpositive(v[i + j] - max);
  }
  double sum = 0.0;
  for (; i < n; ++i) sum += exp_nonpositive(v[i] - max);
  for (const float lane : lanes) sum += lane;
  return sum;
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  COLDPRESS_CHECK(target >= 0 && static_cast<std::size_t>(target) < logits.size());
  const float max = maximum(logits.data(), logits.size());
  if (!std::isfinite(max)) return std::nan("");
  double sum = 0.0;
  for (std::size_t at = 0; at < logits.size(); at += kSoftmaxBlock) {
    sum += sum_of_exp(logits.data() + at, std::min(kSoftmaxBlock, logits.size() - at), max);
  }
  const double target_logit = logits[static_cast<std::size_t>(target)];
  return std::log(sum) + (static_cast<double>(max) - target_logit);
}

}  // namespace coldpress
