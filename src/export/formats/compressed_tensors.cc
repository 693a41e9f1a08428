// compressed-tensors "pack-quantized", which vLLM and transformers load: X.weight_packed has the
// codes, row by row without gaps; X.weight_scale a scale per row and group; X.weight_shape the
// matrix's sizes; and X.weight_zero_point, unless the grid is symmetric, the zeros, packed along
// the outputs. Loaders take 2^(bits-1) off codes and zeros, which leaves the values as they are.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "export/code_format.h"
#include "export/folder_sink.h"
#include "export/table.h"
#include "io/bit_stream.h"
#include "io/json.h"

namespace coldpress {
namespace {

using Holds = CodedPart::Holds;

Status check(const GridOptions&) { return {}; }  // 2 to 8 bits, any group, with zeros or without

std::string stored_type(const GridOptions& grid, int64_t cols) {
  return fmt::format("INT{} {}", grid.bits, grid_suffix(grid, cols));
}

std::vector<CodedPart> parts(const GridOptions& grid, const std::string& module, int64_t rows,
                             int64_t cols) {
  const int64_t groups = groups_of(grid, cols);
  std::vector<CodedPart> out = {
      {module + ".weight_packed", Holds::kCodes, DType::kI32, {rows, words_of(cols, grid.bits)}},
      {module + ".weight_scale", Holds::kScales, grid.scale_type, {rows, groups}},
      {module + ".weight_shape", Holds::kShape, DType::kI64, {2}}};
  if (!grid.symmetric) {
    out.push_back({module + ".weight_zero_point",
                   Holds::kZeros,
                   DType::kI32,
                   {words_of(rows, grid.bits), groups}});
  }
  return out;
}

std::vector<std::vector<std::byte>> pack(const GridOptions& options, const QuantGrid& grid,
                                         View2<const uint8_t> codes) {
  const auto words = static_cast<std::size_t>(words_of(codes.cols, options.bits));
  const auto groups = static_cast<std::size_t>(grid.groups());
  std::vector<std::byte> packed(static_cast<std::size_t>(codes.rows) * words * 4);
  std::vector<std::byte> zeros(static_cast<std::size_t>(words_of(codes.rows, options.bits)) *
                               groups * 4);
  for (int64_t r = 0; r < codes.rows; ++r) {
    const auto row = static_cast<std::size_t>(r);
    for (int64_t c = 0; c < codes.cols; ++c) {
      put_stream_code(packed, row * words, 1, options.bits, static_cast<std::size_t>(c),
                      codes(r, c));
    }
    for (std::size_t g = 0; g < groups; ++g) {
      const float zero = grid.zero(r, static_cast<int64_t>(g));
      put_stream_code(zeros, g, groups, options.bits, row, static_cast<uint32_t>(zero));
    }
  }
  std::vector<std::byte> shape(2 * sizeof(int64_t));
  const int64_t sizes[] = {codes.rows, codes.cols};
  std::memcpy(shape.data(), sizes, shape.size());
  std::vector<std::vector<std::byte>> out = {
      std::move(packed), encode_scales(options.scale_type, grid.scale, false), std::move(shape)};
  if (!options.symmetric) out.push_back(std::move(zeros));
  return out;
}

Json settings(const GridOptions& grid, const CodedModel& model) {
  return compressed_tensors_settings("pack-quantized", grid, nullptr, model);
}

constexpr CodeFormat kCodes = {
    .check = check,
    .check_size = nullptr,
    .stored_type = stored_type,
    .parts = parts,
    .pack = pack,
    .good_zeros = nullptr,
    .keeps_f16 = false,
    .settings = settings,
};

}  // namespace

extern const ExportFormat kExportFormat_compressed_tensors;
const ExportFormat kExportFormat_compressed_tensors = {
    .name = "compressed-tensors",
    .suffix = "",
    .create = open_folder<&kCodes>,
    .codes = &kCodes,
};

}  // namespace coldpress
