// A row of fp32 values in 16 bits each: a sign, 5 bits of exponent below the row's largest and 11
// significant bits, so 2^-11 of a value at most is lost; what is 2^30 times smaller than the
// largest is 0. Unlike bf16 it is fine enough for 8-bit weights, whose own error is 2^-8 or so, and
// unlike fp16 nothing overflows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace coldpress {

namespace half_row {
inline constexpr int kDropped = 13;  // bits of an fp32 significand
inline constexpr int kTop = 30;      // exponent of the largest; rounding may carry it to 31
}  // namespace half_row

// Writes `n` values, and returns what unpack_half_row() needs beside them.
inline int32_t pack_half_row(const float* row, int64_t n, uint16_t* packed) {
  using namespace half_row;
  uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < n; ++j) {
    largest = std::max(largest, std::bit_cast<uint32_t>(row[j]) & 0x7FFFFFFFU);
  }
  const int exponent = std::max(kTop + 1, static_cast<int>(largest >> 23));
  const int32_t base = (exponent - kTop) << (23 - kDropped);
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const auto bits = std::bit_cast<uint32_t>(row[j]);
    const uint32_t size = bits & 0x7FFFFFFFU;
    const uint32_t half = (1U << (kDropped - 1)) - 1U + ((size >> kDropped) & 1U);  // ties to even
    const int32_t code = static_cast<int32_t>((size + half) >> kDropped) - base;
    const uint32_t kept = code < (1 << (23 - kDropped)) ? 0U : static_cast<uint32_t>(code);
    packed[j] = static_cast<uint16_t>(kept | ((bits >> 16) & 0x8000U));
  }
  return base;
}

inline void unpack_half_row(const uint16_t* packed, int32_t base, int64_t n, float* row) {
  using namespace half_row;
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const uint32_t word = packed[j];
    const uint32_t code = word & 0x7FFFU;
    const uint32_t size = code == 0 ? 0U : (code + static_cast<uint32_t>(base)) << kDropped;
    row[j] = std::bit_cast<float>(size | (word & 0x8000U) << 16);
  }
}

}  // namespace coldpress
