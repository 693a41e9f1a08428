// The values of a 4-bit float, E2M1: sign, two exponent bits, one mantissa bit.
#pragma once

#include <array>
#include <cstdint>

namespace coldpress {

// 15 values, since +0 and -0 are one.
inline constexpr std::array<float, 15> kE2m1Levels = {-6.0F, -4.0F, -3.0F, -2.0F, -1.5F,
                                                      -1.0F, -0.5F, 0.0F,  0.5F,  1.0F,
                                                      1.5F,  2.0F,  3.0F,  4.0F,  6.0F};

// The stored bits of the level with this number.
constexpr uint8_t e2m1_bits(uint8_t code) {
  constexpr uint8_t kZero = 7;
  constexpr uint8_t kSign = 8;
  return static_cast<uint8_t>(code >= kZero ? code - kZero : kSign + kZero - code);
}

}  // namespace coldpress
