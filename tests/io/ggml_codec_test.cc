#include "io/ggml_codec.h"

#include <ggml.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

TEST(GgmlCodec, IdsThatGgmlWouldAbortOnAreUnknown) {
  for (const int32_t type : {-1, static_cast<int32_t>(GGML_TYPE_COUNT), 1 << 30, INT32_MIN, 4, 5}) {
    EXPECT_FALSE(ggml_type_info(type).has_value()) << type;
    EXPECT_FALSE(ggml_row_bytes(type, 32).has_value()) << type;
    std::vector<float> out(32);
    EXPECT_FALSE(decode_ggml(type, {}, 32, out)) << type;
  }
}

TEST(GgmlCodec, NamesAndSizes) {
  const auto q4_1 = ggml_type_info(3);
  ASSERT_TRUE(q4_1.has_value());
  EXPECT_EQ(q4_1->name, "q4_1");
  EXPECT_EQ(q4_1->block_elements, 32);
  EXPECT_EQ(q4_1->block_bytes, 20);
  EXPECT_TRUE(q4_1->is_quantised);
  EXPECT_TRUE(q4_1->decodable);
  EXPECT_FALSE(ggml_type_info(kGgmlF16)->is_quantised);
  EXPECT_TRUE(ggml_type_info(kGgmlF32)->decodable);
  EXPECT_FALSE(ggml_type_info(GGML_TYPE_I32)->decodable);
  EXPECT_EQ(ggml_row_bytes(3, 64), 40U);
  EXPECT_FALSE(ggml_row_bytes(3, 33).has_value());
  EXPECT_FALSE(ggml_row_bytes(3, -32).has_value());
  EXPECT_FALSE(ggml_row_bytes(kGgmlF32, std::numeric_limits<int64_t>::max()).has_value());
}

TEST(GgmlCodec, PlainTypesAreExact) {
  Rng rng(1);
  std::vector<float> values(64);
  for (float& v : values) v = static_cast<float>(rng.normal());
  const std::pair<int32_t, DType> types[] = {
      {kGgmlF32, DType::kF32}, {kGgmlF16, DType::kF16}, {kGgmlBF16, DType::kBF16}};
  for (const auto& [type, dtype] : types) {
    std::vector<float> rounded = values;
    round_to_dtype(dtype, rounded);
    std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(dtype_size(dtype)));
    ASSERT_TRUE(encode_from_f32(dtype, values, bytes));
    std::vector<float> decoded(values.size());
    ASSERT_TRUE(decode_ggml(type, bytes, 16, decoded));
    EXPECT_EQ(decoded, rounded);
  }
}

TEST(GgmlCodec, DecodesQ4_1ByItsDefinition) {
  // One block: fp16 scale 0.5, fp16 minimum -3, codes 0..15 low, 15..0 high.
  std::vector<std::byte> block(20);
  const uint16_t d = f32_to_f16(0.5F);
  const uint16_t m = f32_to_f16(-3.0F);
  std::memcpy(block.data(), &d, 2);
  std::memcpy(block.data() + 2, &m, 2);
  for (int i = 0; i < 16; ++i) {
    block[static_cast<std::size_t>(4 + i)] = static_cast<std::byte>(i | ((15 - i) << 4));
  }
  std::vector<float> out(32);
  ASSERT_TRUE(decode_ggml(3, block, 32, out));
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(out[static_cast<std::size_t>(i)], 0.5F * static_cast<float>(i) - 3.0F);
    EXPECT_EQ(out[static_cast<std::size_t>(16 + i)], 0.5F * static_cast<float>(15 - i) - 3.0F);
  }
}

// Ids of the types that decode_ggml knows; of those, the quantised ones that ggml writes unaided
// and without the seconds that its search tables for one- and two-bit lattices take.
std::vector<int> decodable_types(bool only_quantisable) {
  std::vector<int> out;
  for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
    const auto info = ggml_type_info(type);
    if (!info.has_value() || !info->decodable) continue;
    const bool quantisable = info->is_quantised &&
                             !ggml_quantize_requires_imatrix(static_cast<ggml_type>(type)) &&
                             !info->name.starts_with("iq1") && !info->name.starts_with("iq2");
    if (!only_quantisable || quantisable) out.push_back(type);
  }
  return out;
}

std::string type_name(const ::testing::TestParamInfo<int>& param) {
  return ggml_type_info(param.param)->name;
}

class EveryType : public ::testing::TestWithParam<int> {};
class EveryQuantisableType : public ::testing::TestWithParam<int> {};

// Whatever a decodable type's bytes are, decoding fills every element, without any initialisation
// of ggml, the same from an odd address as from an aligned one.
TEST_P(EveryType, DecodesAnyBytesFromAnyAddress) {
  const int32_t type = GetParam();
  const auto info = ggml_type_info(type);
  const int64_t cols = 2 * info->block_elements;
  constexpr int64_t kRows = 3;
  const std::size_t size = kRows * *ggml_row_bytes(type, cols);
  std::vector<std::byte> storage(size + 1);
  Rng rng(static_cast<uint64_t>(type));
  for (std::byte& b : storage) b = static_cast<std::byte>(rng.next_u64());
  std::vector<std::byte> aligned(storage.begin() + 1, storage.end());

  std::vector<float> from_odd(static_cast<std::size_t>(kRows * cols), -12345.0F);
  std::vector<float> from_aligned(from_odd.size(), -12345.0F);
  ASSERT_TRUE(decode_ggml(type, std::span(storage).subspan(1), cols, from_odd));
  ASSERT_TRUE(decode_ggml(type, aligned, cols, from_aligned));
  EXPECT_EQ(std::memcmp(from_odd.data(), from_aligned.data(), from_odd.size() * sizeof(float)), 0);
  for (const float v : from_aligned) EXPECT_NE(v, -12345.0F);
}

// What ggml's quantiser writes decodes to something near the original.
TEST_P(EveryQuantisableType, RoundTripsThroughGgmlsQuantiser) {
  const int32_t type = GetParam();
  const int64_t cols = 1024;
  std::vector<float> x(static_cast<std::size_t>(cols));
  Rng rng(5);
  for (float& v : x) v = static_cast<float>(rng.normal());
  std::vector<std::byte> bytes(*ggml_row_bytes(type, cols));
  ASSERT_EQ(ggml_quantize_chunk(static_cast<ggml_type>(type), x.data(), bytes.data(), 0, 1, cols,
                                nullptr),
            bytes.size());
  std::vector<float> y(x.size());
  ASSERT_TRUE(decode_ggml(type, bytes, cols, y));
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += std::pow(x[i] - y[i], 2);
    norm += std::pow(x[i], 2);
  }
  EXPECT_LT(error, norm);  // better than all zeros, even ternary
  ggml_quantize_free();
}

INSTANTIATE_TEST_SUITE_P(Ggml, EveryType, ::testing::ValuesIn(decodable_types(false)), type_name);
INSTANTIATE_TEST_SUITE_P(Ggml, EveryQuantisableType, ::testing::ValuesIn(decodable_types(true)),
                         type_name);

}  // namespace
}  // namespace coldpress
