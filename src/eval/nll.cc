#include "eval/nll.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace coldpress {
namespace {

constexpr std::size_t kLanes = 32;
constexpr std::size_t kBlock = 512;  // elements summed in fp32 before they join the fp64 sum

// e^x for x <= 0; flushes to e^-87 below -87, where a term no longer counts. Branch-free, so that a
// loop over it becomes SIMD code. x = k ln 2 + r with |r| <= ln 2 / 2; Taylor's polynomial of
// degree 7 leaves a relative error below 1e-8 there.
inline float exp_nonpositive(float x) {
  x = x < -87.0F ? -87.0F : x;  // keeps NaN
  constexpr float kRound = 0x1.8p23F;
  const float shifted = x * 1.44269504F + kRound;
  const float k = shifted - kRound;
  float r = x - k * 0.693359375F;
  r = r + k * 2.12194440e-4F;
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // 2^k: the low bits of `shifted` are k.
  const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000U;
  return p * std::bit_cast<float>(exponent);
}

// At most kBlock elements, in kLanes fp32 sums.
double sum_of_exp(const float* v, std::size_t n, float max) {
  std::array<float, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += exp_nonpositive(v[i + j] - max);
  }
  double sum = 0.0;
  for (; i < n; ++i) sum += exp_nonpositive(v[i] - max);
  for (const float lane : lanes) sum += lane;
  return sum;
}

float maximum(const float* v, std::size_t n) {
  std::array<float, kLanes> lanes;
  lanes.fill(v[0]);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma omp simd
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] = v[i + j] > lanes[j] ? v[i + j] : lanes[j];
  }
  float max = v[0];
  for (; i < n; ++i) max = std::max(max, v[i]);
  for (const float lane : lanes) max = std::max(max, lane);
  return max;
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  COLDPRESS_CHECK(target >= 0 && static_cast<std::size_t>(target) < logits.size());
  const float max = maximum(logits.data(), logits.size());
  if (!std::isfinite(max)) return std::nan("");
  double sum = 0.0;
  for (std::size_t at = 0; at < logits.size(); at += kBlock) {
    sum += sum_of_exp(logits.data() + at, std::min(kBlock, logits.size() - at), max);
  }
  const double target_logit = logits[static_cast<std::size_t>(target)];
  return std::log(sum) + (static_cast<double>(max) - target_logit);
}

}  // namespace coldpress
