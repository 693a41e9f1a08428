#include "export/gptq_codes.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "io/bit_stream.h"
#include "io/json.h"

namespace coldpress::gptq {
namespace {

using Holds = CodedPart::Holds;

constexpr int64_t kWholeWords = 32;  // so many codes of any width fill words

}  // namespace

Status check_bits(const GridOptions& grid) {
  if (grid.bits == 2 || grid.bits == 3 || grid.bits == 4 || grid.bits == 8) return {};
  return invalid_argument(
      fmt::format("GPTQ's format has no codes of {} bits; use --bits {}, or --format "
                  "compressed-tensors",
                  grid.bits, grid.bits < 6 ? 4 : 8));
}

Status check_size(const GridOptions&, int64_t rows, int64_t cols) {
  if (rows % kWholeWords == 0 && cols % kWholeWords == 0) return {};
  return invalid_argument(
      fmt::format("{} x {} is no size that GPTQ's format holds (multiples of 32); use --format "
                  "compressed-tensors",
                  rows, cols));
}

std::string stored_type(const GridOptions& grid, int64_t cols) {
  return fmt::format("GPTQ INT{} {}", grid.bits, grid_suffix(grid, cols));
}

std::vector<CodedPart> parts(const GridOptions& grid, const std::string& module, int64_t rows,
                             int64_t cols) {
  const int64_t groups = groups_of(grid, cols);
  return {
      {module + ".qweight", Holds::kCodes, DType::kI32, {words_of(cols, grid.bits), rows}},
      {module + ".qzeros", Holds::kZeros, DType::kI32, {groups, words_of(rows, grid.bits)}},
      {module + ".scales", Holds::kScales, grid.scale_type, {groups, rows}},
      {module + ".g_idx", Holds::kOrder, DType::kI32, {cols}},
  };
}

std::vector<std::vector<std::byte>> pack(const GridOptions& options, const QuantGrid& grid,
                                         View2<const uint8_t> codes, uint32_t less) {
  const auto rows = static_cast<std::size_t>(codes.rows);
  const auto groups = static_cast<std::size_t>(grid.groups());
  const auto zero_words = static_cast<std::size_t>(words_of(codes.rows, options.bits));
  std::vector<std::byte> packed(static_cast<std::size_t>(words_of(codes.cols, options.bits)) *
                                rows * 4);
  std::vector<std::byte> zeros(groups * zero_words * 4);
  for (int64_t c = 0; c < codes.cols; ++c) {  // words of neighbouring outputs share a cache line
    for (int64_t r = 0; r < codes.rows; ++r) {
      put_stream_code(packed, static_cast<std::size_t>(r), rows, options.bits,
                      static_cast<std::size_t>(c), codes(r, c));
    }
  }
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t r = 0; r < rows; ++r) {
      const float zero = grid.zero(static_cast<int64_t>(r), static_cast<int64_t>(g));
      const uint32_t stored = static_cast<uint32_t>(zero) - less;
      put_stream_code(zeros, g * zero_words, 1, options.bits, r, stored);
    }
  }
  std::vector<std::byte> order(static_cast<std::size_t>(codes.cols) * 4);
  for (int64_t c = 0; c < codes.cols; ++c) {
    const auto group = static_cast<int32_t>(c / grid.group);
    std::memcpy(order.data() + c * 4, &group, 4);
  }
  return {std::move(packed), std::move(zeros),
          encode_scales(options.scale_type, grid.scale, /*transposed=*/true), std::move(order)};
}

bool good_zeros(const GridOptions& grid, int64_t rows, std::span<const std::byte> zeros,
                uint32_t less) {
  if (!grid.symmetric) return true;
  const auto words = static_cast<std::size_t>(words_of(rows, grid.bits));
  for (std::size_t first = 0; first < zeros.size() / 4; first += words) {
    for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
      const uint32_t stored = stream_code(zeros, first, 1, grid.bits, r);
      if (stored + less != 1U << (grid.bits - 1)) return false;
    }
  }
  return true;
}

Json settings(const GridOptions& grid, const CodedModel& model, const char* checkpoint_format) {
  return {{"quant_method", "gptq"},
          {"bits", grid.bits},
          {"group_size", grid.group == 0 ? -1 : grid.group},
          {"desc_act", false},
          {"sym", grid.symmetric},
          {"lm_head", model.head_is_coded},
          {"checkpoint_format", checkpoint_format},
          {"pack_dtype", "int32"},
          {"meta", {{"quantizer", {"coldpress:" + model.version}}}}};
}

}  // namespace coldpress::gptq
