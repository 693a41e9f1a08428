// ggml's element types: names, sizes and exact decoding to fp32 (through ggml's own functions).
// The only place that talks to ggml about stored bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace coldpress {

struct GgmlTypeInfo {
  std::string name;        // "q4_1", "f16", ...
  int64_t block_elements;  // elements per block (1 for plain types)
  int64_t block_bytes;     // bytes per block
  bool is_quantised;
  bool decodable;  // decode_ggml works
};

inline constexpr int32_t kGgmlF32 = 0;
inline constexpr int32_t kGgmlF16 = 1;
inline constexpr int32_t kGgmlBF16 = 30;

std::optional<GgmlTypeInfo> ggml_type_info(int32_t type);  // nullopt: unknown or removed type id
std::optional<int32_t> ggml_type_from_name(std::string_view name);  // "q4_1"; any case
// Bytes of a row of `cols` elements; nullopt if cols is not a multiple of the block or overflows.
std::optional<uint64_t> ggml_row_bytes(int32_t type, int64_t cols);
// Decodes whole rows: `bytes` must be exactly rows * ggml_row_bytes. False if not decodable.
bool decode_ggml(int32_t type, std::span<const std::byte> bytes, int64_t cols,
                 std::span<float> out);

}  // namespace coldpress
