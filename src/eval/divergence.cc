#include "eval/divergence.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "eval/softmax.h"

namespace coldpress {
namespace {

// With a and b the logits of p and q minus their maxima.
struct Sums {
  double p = 0;       // sum e^a
  double q = 0;       // sum e^b
  double p_diff = 0;  // sum e^a (a - b)
  double q_diff = 0;  // sum e^b (b - a)
};

// At most kSoftmaxBlock elements.
void add_block(const float* p, float p_max, const float* q, float q_max, std::size_t n,
               Sums& sums) {
  using Lanes = std::array<float, kSoftmaxLanes>;
  Lanes ps{};
  Lanes qs{};
  Lanes p_diffs{};
  Lanes q_diffs{};
  std::size_t i = 0;
  for (; i + kSoftmaxLanes <= n; i += kSoftmaxLanes) {
#pragma omp simd
    for (std::size_t j = 0; j < kSoftmaxLanes; ++j) {
      const float a = p[i + j] - p_max;
      const float b = q[i + j] - q_max;
      const float ea = exp_nonpositive(a);
      const float eb = exp_nonpositive(b);
      ps[j] += ea;
      qs[j] += eb;
      p_diffs[j] += ea * (a - b);
      q_diffs[j] += eb * (b - a);
    }
  }
  for (; i < n; ++i) {
    const float a = p[i] - p_max;
    const float b = q[i] - q_max;
    const float ea = exp_nonpositive(a);
    const float eb = exp_nonpositive(b);
    sums.p += ea;
    sums.q += eb;
    sums.p_diff += ea * (a - b);
    sums.q_diff += eb * (b - a);
  }
  for (std::size_t j = 0; j < kSoftmaxLanes; ++j) {
    sums.p += ps[j];
    sums.q += qs[j];
    sums.p_diff += p_diffs[j];
    sums.q_diff += q_diffs[j];
  }
}

double at_least_zero(double x) { return x < 0 ? 0 : x; }  // keeps NaN

}  // namespace

RowDivergence row_divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  COLDPRESS_CHECK(!p_logits.empty() && p_logits.size() == q_logits.size());
  const float p_max = maximum(p_logits.data(), p_logits.size());
  const float q_max = maximum(q_logits.data(), q_logits.size());
  if (!std::isfinite(p_max) || !std::isfinite(q_max)) return {std::nan(""), std::nan(""), false};
  Sums sums;
  for (std::size_t at = 0; at < p_logits.size(); at += kSoftmaxBlock) {
    add_block(p_logits.data() + at, p_max, q_logits.data() + at, q_max,
              std::min(kSoftmaxBlock, p_logits.size() - at), sums);
  }
  // log(p/q) = (a - log sum e^a) - (b - log sum e^b).
  const double log_ratio = std::log(sums.q) - std::log(sums.p);
  const auto p_top = std::find(p_logits.begin(), p_logits.end(), p_max) - p_logits.begin();
  const auto q_top = std::find(q_logits.begin(), q_logits.end(), q_max) - q_logits.begin();
  return {at_least_zero(sums.p_diff / sums.p + log_ratio),
          at_least_zero(sums.q_diff / sums.q - log_ratio), p_top == q_top};
}

}  // namespace coldpress
