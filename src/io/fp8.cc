#include "io/fp8.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace coldpress {

float e4m3_to_f32(uint8_t code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  float magnitude = 0;
  if (exponent == 15 && mantissa == 7) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = static_cast<float>(mantissa) * 0x1.0p-9F;
  } else {
    magnitude = std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  }
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

float e5m2_to_f32(uint8_t code) { return f16_to_f32(static_cast<uint16_t>(code << 8)); }

void decode_fp8(DType type, std::span<const std::byte> codes, std::span<float> out) {
  COLDPRESS_CHECK(is_fp8(type) && codes.size() == out.size());
  std::array<float, 256> values;
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<uint8_t>(code);
    values[byte] = type == DType::kF8E4M3 ? e4m3_to_f32(byte) : e5m2_to_f32(byte);
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = values[static_cast<uint8_t>(codes[i])];
}

}  // namespace coldpress
