// Element types of stored tensors, and exact conversions between them and fp32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace coldpress {

// Plain element types, as safetensors names them. Block-quantised GGUF types are not here: see
// io/ggml_codec.h.
enum class DType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool
};

int64_t dtype_size(DType t);                                  // bytes per element
std::string_view dtype_name(DType t);                         // "F32", "BF16", ...
std::optional<DType> dtype_from_name(std::string_view name);  // safetensors spelling
// True for the types whose values fp32 can hold as weights here (F64 is rounded).
bool dtype_is_float(DType t);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);  // round to nearest even; overflow gives infinity
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);  // round to nearest even; NaN stays NaN

// Decodes out.size() elements of type `t` (F64, F32, F16 or BF16) from `bytes`, which must hold
// exactly that many. False for any other type.
bool decode_to_f32(DType t, std::span<const std::byte> bytes, std::span<float> out);
// The inverse, rounding to nearest even, for F32, F16 and BF16.
bool encode_from_f32(DType t, std::span<const float> values, std::span<std::byte> out);
// Rounds each value to what type `t` (F32, F16 or BF16) can hold: encode then decode, in place.
void round_to_dtype(DType t, std::span<float> values);

}  // namespace coldpress
