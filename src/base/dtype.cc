#include "base/dtype.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace coldpress {
namespace {

struct Row {
  DType type;
  std::string_view name;
  int64_t size;
  bool is_float;
};

// One row per DType, in the enum's order.
constexpr std::array<Row, 15> kRows = {{
    {DType::kF64, "F64", 8, true},
    {DType::kF32, "F32", 4, true},
    {DType::kF16, "F16", 2, true},
    {DType::kBF16, "BF16", 2, true},
    {DType::kF8E4M3, "F8_E4M3", 1, false},
    {DType::kF8E5M2, "F8_E5M2", 1, false},
    {DType::kI64, "I64", 8, false},
    {DType::kI32, "I32", 4, false},
    {DType::kI16, "I16", 2, false},
    {DType::kI8, "I8", 1, false},
    {DType::kU64, "U64", 8, false},
    {DType::kU32, "U32", 4, false},
    {DType::kU16, "U16", 2, false},
    {DType::kU8, "U8", 1, false},
    {DType::kBool, "BOOL", 1, false},
}};
static_assert(kRows.size() == static_cast<std::size_t>(DType::kBool) + 1);

const Row& row_of(DType t) { return kRows[static_cast<std::size_t>(t)]; }

template <typename Raw, typename Decode>
void decode_each(std::span<const std::byte> bytes, std::span<float> out, Decode decode) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Raw raw;
    std::memcpy(&raw, bytes.data() + i * sizeof(Raw), sizeof(Raw));
    out[i] = decode(raw);
  }
}

}  // namespace

int64_t dtype_size(DType t) { return row_of(t).size; }
std::string_view dtype_name(DType t) { return row_of(t).name; }
bool dtype_is_float(DType t) { return row_of(t).is_float; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Row& r : kRows) {
    if (r.name == name) return r.type;
  }
  return std::nullopt;
}

float bf16_to_f32(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

uint16_t f32_to_bf16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((u >> 16) | 0x40U);
  return static_cast<uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
}

float f16_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000U) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fU;
  const uint32_t mantissa = h & 0x3ffU;
  if (exponent == 0x1fU) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in fp32
    const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t f32_to_f16(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  const uint32_t sign = (u >> 16) & 0x8000U;
  const uint32_t magnitude = u & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);  // rounds past 65504
  if (magnitude < 0x38800000U) {  // subnormal in fp16: let the fp32 adder do the rounding
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000U));
  }
  const uint32_t odd = (magnitude >> 13) & 1U;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000U + 0xfffU + odd) >> 13));
}

bool decode_to_f32(DType t, std::span<const std::byte> bytes, std::span<float> out) {
  COLDPRESS_CHECK(bytes.size() == out.size() * static_cast<std::size_t>(dtype_size(t)));
  switch (t) {
    case DType::kF32:
      if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
      return true;
    case DType::kF16:
      decode_each<uint16_t>(bytes, out, f16_to_f32);
      return true;
    case DType::kBF16:
      decode_each<uint16_t>(bytes, out, bf16_to_f32);
      return true;
    case DType::kF64:
      decode_each<double>(bytes, out, [](double d) { return static_cast<float>(d); });
      return true;
    default:
      return false;
  }
}

bool encode_from_f32(DType t, std::span<const float> values, std::span<std::byte> out) {
  COLDPRESS_CHECK(out.size() == values.size() * static_cast<std::size_t>(dtype_size(t)));
  if (t == DType::kF32) {
    if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
    return true;
  }
  if (t != DType::kF16 && t != DType::kBF16) return false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const uint16_t raw = t == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    std::memcpy(out.data() + i * sizeof(raw), &raw, sizeof(raw));
  }
  return true;
}

void round_to_dtype(DType t, std::span<float> values) {
  if (t == DType::kF32) return;
  COLDPRESS_CHECK(t == DType::kF16 || t == DType::kBF16);
  for (float& v : values) {
    v = t == DType::kF16 ? f16_to_f32(f32_to_f16(v)) : bf16_to_f32(f32_to_bf16(v));
  }
}

}  // namespace coldpress
