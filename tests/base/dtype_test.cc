#include "base/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace coldpress {
namespace {

// The value of a 16-bit float from its fields, in double: sign, exponent bits, mantissa bits.
double oracle(uint16_t code, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const double sign = (code & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

struct Half {
  const char* name;
  int exponent_bits;
  int mantissa_bits;
  float (*decode)(uint16_t);
  uint16_t (*encode)(float);
};
const Half kHalves[] = {{"F16", 5, 10, f16_to_f32, f32_to_f16},
                        {"BF16", 8, 7, bf16_to_f32, f32_to_bf16}};

class HalfTest : public ::testing::TestWithParam<Half> {
 protected:
  // The non-negative finite code nearest to |x|, ties to the even code; `overflow` beyond the
  // midpoint between the largest finite value and the next power of two step.
  uint16_t nearest(double x) const {
    const Half& h = GetParam();
    const uint16_t infinity =
        static_cast<uint16_t>(((1 << h.exponent_bits) - 1) << h.mantissa_bits);
    uint16_t low = 0;
    uint16_t high = infinity;  // stands for the value after the largest finite one
    while (high - low > 1) {
      const auto mid = static_cast<uint16_t>((low + high) / 2);
      (value(mid) <= x ? low : high) = mid;
    }
    const double below = x - value(low);
    const double above = value(high) - x;
    if (below == above) return low % 2 == 0 ? low : high;
    return below < above ? low : high;
  }
  double value(uint16_t code) const {
    const Half& h = GetParam();
    const int top = (1 << h.exponent_bits) - 1;
    if (code == top << h.mantissa_bits) {
      return std::ldexp(1.0, top - ((1 << (h.exponent_bits - 1)) - 1));
    }
    return oracle(code, h.exponent_bits, h.mantissa_bits);
  }
};

TEST_P(HalfTest, DecodesEveryCode) {
  const Half& h = GetParam();
  for (int code = 0; code < 65536; ++code) {
    const auto c = static_cast<uint16_t>(code);
    const double expected = oracle(c, h.exponent_bits, h.mantissa_bits);
    const float got = h.decode(c);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(got)) << code;
    } else {
      ASSERT_EQ(static_cast<double>(got), expected) << code;
      ASSERT_EQ(std::signbit(got), (code & 0x8000) != 0) << code;
    }
  }
}

TEST_P(HalfTest, EncodesEveryCodeBackToItself) {
  const Half& h = GetParam();
  for (int code = 0; code < 65536; ++code) {
    const float f = h.decode(static_cast<uint16_t>(code));
    if (std::isnan(f)) {
      ASSERT_TRUE(std::isnan(h.decode(h.encode(f)))) << code;
    } else {
      ASSERT_EQ(h.encode(f), code);
    }
  }
}

TEST_P(HalfTest, RoundsToNearestTiesToEven) {
  const Half& h = GetParam();
  const auto check = [&](float f) {
    const auto sign = static_cast<uint16_t>(std::signbit(f) ? 0x8000 : 0);
    ASSERT_EQ(h.encode(f), sign | nearest(std::fabs(static_cast<double>(f)))) << f;
  };
  // Around every midpoint between neighbours (bf16 midpoints are floats; so are fp16's).
  const int last = ((1 << h.exponent_bits) - 1) << h.mantissa_bits;
  for (int code = 0; code < last; ++code) {
    const double mid =
        (value(static_cast<uint16_t>(code)) + value(static_cast<uint16_t>(code + 1))) / 2;
    const auto f = static_cast<float>(mid);
    if (static_cast<double>(f) != mid) continue;  // the smallest bf16 steps
    check(f);
    check(std::nextafterf(f, 0.0F));
    check(std::nextafterf(f, std::numeric_limits<float>::max()));
    check(-f);
  }
  Rng rng(1);
  for (int i = 0; i < 100000; ++i) {
    const float f = std::bit_cast<float>(static_cast<uint32_t>(rng.next_u64()));
    if (!std::isnan(f) && !std::isinf(f)) check(f);
  }
}

TEST_P(HalfTest, KeepsInfinityAndNan) {
  const Half& h = GetParam();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(h.decode(h.encode(infinity)), infinity);
  EXPECT_EQ(h.decode(h.encode(-infinity)), -infinity);
  // A NaN whose payload lies only in bits that the shorter type lacks must not become infinity.
  EXPECT_TRUE(std::isnan(h.decode(h.encode(std::bit_cast<float>(0x7f800001U)))));
  EXPECT_TRUE(std::isnan(h.decode(h.encode(std::bit_cast<float>(0xffffffffU)))));
}

INSTANTIATE_TEST_SUITE_P(Both, HalfTest, ::testing::ValuesIn(kHalves),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(Dtype, NamesRoundTrip) {
  for (int i = 0; i <= static_cast<int>(DType::kBool); ++i) {
    const auto t = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(dtype_name(t)), t);
    EXPECT_GE(dtype_size(t), 1);
  }
  EXPECT_FALSE(dtype_from_name("f32").has_value());
  EXPECT_FALSE(dtype_from_name("").has_value());
}

TEST(Dtype, EncodeThenDecodeIsRounding) {
  Rng rng(2);
  std::vector<float> values(1000);
  for (float& v : values) v = static_cast<float>(rng.normal());
  for (const DType t : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(dtype_size(t)));
    ASSERT_TRUE(encode_from_f32(t, values, bytes));
    std::vector<float> decoded(values.size());
    ASSERT_TRUE(decode_to_f32(t, bytes, decoded));
    std::vector<float> rounded = values;
    round_to_dtype(t, rounded);
    EXPECT_EQ(decoded, rounded) << dtype_name(t);
    EXPECT_EQ(decoded == values, t == DType::kF32);
  }
}

TEST(Dtype, DecodesDoubles) {
  const std::array<double, 2> values = {1.5, -0x1.0p-30};
  std::array<float, 2> out = {};
  ASSERT_TRUE(decode_to_f32(DType::kF64, std::as_bytes(std::span(values)), out));
  EXPECT_EQ(out[0], 1.5F);
  EXPECT_EQ(out[1], -0x1.0p-30F);
}

TEST(Dtype, IntegersAreNotWeights) {
  std::array<std::byte, 4> bytes = {};
  std::array<float, 1> out = {};
  EXPECT_FALSE(decode_to_f32(DType::kI32, bytes, out));
  EXPECT_FALSE(encode_from_f32(DType::kI32, out, bytes));
}

TEST(Dtype, UnalignedBytesDecode) {
  std::array<std::byte, 9> storage = {};
  const float value = 3.25F;
  std::memcpy(storage.data() + 1, &value, sizeof(value));
  std::array<float, 1> out = {};
  ASSERT_TRUE(decode_to_f32(DType::kF32, std::span(storage).subspan(1, 4), out));
  EXPECT_EQ(out[0], value);
}

}  // namespace
}  // namespace coldpress
