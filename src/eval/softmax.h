// Exponentials of logits, fast and the same everywhere: what the sums over a vocabulary are made
// of. Not for single values, which std::exp serves better.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace coldpress {

// Sums run over this many fp32 lanes, and over this many elements before they join an fp64 sum.
inline constexpr std::size_t kSoftmaxLanes = 32;
inline constexpr std::size_t kSoftmaxBlock = 512;

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

// The largest of v[0, n), n > 0, where none is NaN; a NaN may be lost.
inline float maximum(const float* v, std::size_t n) {
  std::array<float, kSoftmaxLanes> lanes;
  lanes.fill(v[0]);
  std::size_t i = 0;
  for (; i + kSoftmaxLanes <= n; i += kSoftmaxLanes) {
#pragma omp simd
    for (std::size_t j = 0; j < kSoftmaxLanes; ++j)
      lanes[j] = v[i + j] > lanes[j] ? v[i + j] : lanes[j];
  }
  float max = v[0];
  for (; i < n; ++i) max = v[i] > max ? v[i] : max;
  for (const float lane : lanes) max = lane > max ? lane : max;
  return max;
}

}  // namespace coldpress
