// Eight-bit floats to fp32, exactly. E4M3 is the variant without infinities (bias 7, largest 448);
// E5M2 is the upper byte of an fp16.
//
// Not for scales: a stored weight's scales are another tensor (model/packed/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace coldpress {

inline bool is_fp8(DType type) { return type == DType::kF8E4M3 || type == DType::kF8E5M2; }

float e4m3_to_f32(uint8_t code);
float e5m2_to_f32(uint8_t code);

// One value per byte; `type` must be one of the two and the sizes equal (CHECKed). NaN codes give
// NaN.
void decode_fp8(DType type, std::span<const std::byte> codes, std::span<float> out);

}  // namespace coldpress
