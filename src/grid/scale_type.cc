#include "grid/scale_type.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace coldpress {
namespace {

constexpr float kSmallestF16 = 0x1p-24F;
constexpr float kLargestF16 = 65504;
constexpr float kLargestBf16 = 0x1.FEp127F;

}  // namespace

float storable_scale(DType type, float scale) {
  switch (type) {
    case DType::kF16:
      return f16_to_f32(f32_to_f16(std::clamp(scale, kSmallestF16, kLargestF16)));
    case DType::kBF16:
      return bf16_to_f32(
          f32_to_bf16(std::clamp(scale, std::numeric_limits<float>::min(), kLargestBf16)));
    default:
      COLDPRESS_CHECK(type == DType::kF32);
      return scale;
  }
}

int scale_bits(DType type) { return 8 * static_cast<int>(dtype_size(type)); }

}  // namespace coldpress
