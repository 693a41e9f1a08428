#include "io/ggml_codec.h"

#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/checked.h"

namespace coldpress {
namespace {

static_assert(kGgmlF32 == GGML_TYPE_F32 && kGgmlF16 == GGML_TYPE_F16 &&
              kGgmlBF16 == GGML_TYPE_BF16);

// nullptr for ids that ggml would abort on, and for formats it has removed.
const ggml_type_traits* traits_of(int32_t type) {
  if (type < 0 || type >= GGML_TYPE_COUNT) return nullptr;
  const ggml_type_traits* traits = ggml_get_type_traits(static_cast<ggml_type>(type));
  if (traits == nullptr || traits->blck_size <= 0 || traits->type_size == 0) return nullptr;
  return traits;
}

}  // namespace

std::optional<GgmlTypeInfo> ggml_type_info(int32_t type) {
  const ggml_type_traits* traits = traits_of(type);
  if (traits == nullptr) return std::nullopt;
  GgmlTypeInfo info;
  info.name = traits->type_name;
  info.block_elements = traits->blck_size;
  info.block_bytes = static_cast<int64_t>(traits->type_size);
  info.is_quantised = traits->is_quantized;
  info.decodable = type == GGML_TYPE_F32 || type == GGML_TYPE_F64 || traits->to_float != nullptr;
  return info;
}

std::optional<int32_t> ggml_type_from_name(std::string_view name) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (int32_t id = 0; id < GGML_TYPE_COUNT; ++id) {
    const ggml_type_traits* traits = traits_of(id);
    if (traits == nullptr) continue;
    const std::string_view known = traits->type_name;
    if (std::equal(known.begin(), known.end(), name.begin(), name.end(),
                   [&](char a, char b) { return lower(a) == lower(b); })) {
      return id;
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> ggml_row_bytes(int32_t type, int64_t cols) {
  const ggml_type_traits* traits = traits_of(type);
  if (traits == nullptr || cols < 0 || cols % traits->blck_size != 0) return std::nullopt;
  return checked_mul(static_cast<uint64_t>(cols / traits->blck_size), traits->type_size);
}

bool decode_ggml(int32_t type, std::span<const std::byte> bytes, int64_t cols,
                 std::span<float> out) {
  const ggml_type_traits* traits = traits_of(type);
  const std::optional<uint64_t> row_bytes = ggml_row_bytes(type, cols);
  if (traits == nullptr || !row_bytes.has_value()) return false;
  if (out.empty()) return bytes.empty();
  COLDPRESS_CHECK(cols > 0 && out.size() % static_cast<std::size_t>(cols) == 0);
  const std::size_t rows = out.size() / static_cast<std::size_t>(cols);
  COLDPRESS_CHECK(bytes.size() == rows * *row_bytes);

  if (type == GGML_TYPE_F32) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return true;
  }
  if (type == GGML_TYPE_F64) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      double value = 0;
      std::memcpy(&value, bytes.data() + i * sizeof(value), sizeof(value));
      out[i] = static_cast<float>(value);
    }
    return true;
  }
  if (traits->to_float == nullptr) return false;
  // ggml reads its blocks in place, as structs: rows from an oddly aligned file are moved first.
  constexpr std::size_t kBlockAlign = alignof(uint64_t);
  std::vector<uint64_t> aligned;
  for (std::size_t r = 0; r < rows; ++r) {
    const void* row = bytes.data() + r * *row_bytes;
    if (reinterpret_cast<std::uintptr_t>(row) % kBlockAlign != 0) {
      aligned.resize((*row_bytes + kBlockAlign - 1) / kBlockAlign);
      std::memcpy(aligned.data(), row, *row_bytes);
      row = aligned.data();
    }
    traits->to_float(row, out.data() + r * static_cast<std::size_t>(cols), cols);
  }
  return true;
}

}  // namespace coldpress
