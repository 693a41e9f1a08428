// compressed-tensors "int-quantized", W8A8 and W4A8: X.weight has the codes less 2^(bits-1), one
// byte each, X.weight_scale a scale per row and group. Its loaders round each token's activations
// to 8 bits too, by a scale that they find at run time; nothing of that is in the file.
#include <fmt/format.h>

#include <utility>

#include "export/code_format.h"
#include "export/folder_sink.h"
#include "export/table.h"
#include "io/json.h"

namespace coldpress {
namespace {

using Holds = CodedPart::Holds;

Status check(const GridOptions& grid) {
  if (grid.bits != 4 && grid.bits != 8) {
    return invalid_argument(
        fmt::format("--format int-quantized is for 4 and 8 bits; use --bits {}, or --format "
                    "compressed-tensors",
                    grid.bits < 4 ? 4 : 8));
  }
  if (grid.symmetric) return {};
  return invalid_argument(
      "--format int-quantized has no zero points; use --symmetric, or --format compressed-tensors");
}

// One byte per code, whatever its bits.
std::string stored_type(const GridOptions& grid, int64_t cols) {
  return "INT8 " + grid_suffix(grid, cols);
}

std::vector<CodedPart> parts(const GridOptions& grid, const std::string& module, int64_t rows,
                             int64_t cols) {
  return {
      {module + ".weight", Holds::kCodes, DType::kI8, {rows, cols}},
      {module + ".weight_scale", Holds::kScales, grid.scale_type, {rows, groups_of(grid, cols)}}};
}

std::vector<std::vector<std::byte>> pack(const GridOptions& options, const QuantGrid& grid,
                                         View2<const uint8_t> codes) {
  const int middle = 1 << (options.bits - 1);
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<std::size_t>(codes.rows * codes.cols));
  for (int64_t r = 0; r < codes.rows; ++r) {
    for (int64_t c = 0; c < codes.cols; ++c) {
      bytes.push_back(static_cast<std::byte>(static_cast<int8_t>(codes(r, c) - middle)));
    }
  }
  std::vector<std::vector<std::byte>> out;
  out.push_back(std::move(bytes));
  out.push_back(encode_scales(options.scale_type, grid.scale, false));
  return out;
}

Json settings(const GridOptions& grid, const CodedModel& model) {
  const Json activations = {{"num_bits", 8},       {"type", "int"},   {"symmetric", true},
                            {"strategy", "token"}, {"dynamic", true}, {"group_size", nullptr}};
  return compressed_tensors_settings("int-quantized", grid, activations, model);
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

extern const ExportFormat kExportFormat_int_quantized;
const ExportFormat kExportFormat_int_quantized = {
    .name = "int-quantized",
    .suffix = "",
    .create = open_folder<&kCodes>,
    .codes = &kCodes,
};

}  // namespace coldpress
