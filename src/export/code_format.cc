#include "export/code_format.h"

#include <fmt/format.h>

#include "io/json.h"

namespace coldpress {

uint64_t CodedPart::bytes() const {
  auto bytes = static_cast<uint64_t>(dtype_size(dtype));
  for (const int64_t extent : shape) bytes *= static_cast<uint64_t>(extent);
  return bytes;
}

Status check_codes(std::string_view name, const CodeFormat& format, const GridOptions& grid,
                   DType dense_type) {
  if (grid.kind != GridOptions().kind) {
    return invalid_argument(fmt::format(
        "--format {} has no place for the levels of --grid {}; use integers (leave --grid out), or "
        "--format dense",
        name, grid.kind));
  }
  if (dense_type != DType::kF16 && dense_type != DType::kBF16) {
    return invalid_argument(fmt::format(
        "--format {} needs --dense-type f16 or bf16, in which its loaders compute", name));
  }
  if (grid.scale_type != dense_type) {
    const auto option = [](DType type) { return type == DType::kF16 ? "f16" : "bf16"; };
    return invalid_argument(fmt::format(
        "--format {} stores scales in the type in which its loaders multiply; use --scale-type {} "
        "with --dense-type {}, or leave both out",
        name, option(dense_type), option(dense_type)));
  }
  return format.check(grid);
}

Status check_codes_size(const CodeFormat& format, const GridOptions& grid, int64_t rows,
                        int64_t cols) {
  return format.check_size == nullptr ? Status() : format.check_size(grid, rows, cols);
}

std::string module_of(std::string_view tensor) {
  constexpr std::string_view kWeight = ".weight";
  if (tensor.ends_with(kWeight)) tensor.remove_suffix(kWeight.size());
  return std::string(tensor);
}

int64_t words_of(int64_t codes, int bits) { return (codes * bits + 31) / 32; }

std::string grid_suffix(const GridOptions& grid, int64_t cols) {
  return grid.group == 0 || grid.group >= cols ? "channel" : fmt::format("g{}", grid.group);
}

int64_t groups_of(const GridOptions& grid, int64_t cols) {
  return grid.group == 0 ? 1 : cols / grid.group;
}

Json compressed_tensors_settings(const char* format, const GridOptions& grid,
                                 const Json& activations, const CodedModel& model) {
  const Json weights = {{"num_bits", grid.bits},
                        {"type", "int"},
                        {"symmetric", grid.symmetric},
                        {"strategy", grid.group == 0 ? "channel" : "group"},
                        {"group_size", grid.group == 0 ? Json() : Json(grid.group)},
                        {"dynamic", false}};
  return {{"quant_method", "compressed-tensors"},
          {"format", format},
          {"quantization_status", "compressed"},
          {"config_groups",
           {{"group_0",
             {{"targets", Json::array({"Linear"})},
              {"weights", weights},
              {"input_activations", activations},
              {"output_activations", nullptr},
              {"format", format}}}}},
          {"ignore", model.dense},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

std::vector<std::byte> encode_scales(DType type, const MatrixF& scales, bool transposed) {
  MatrixF turned;
  if (transposed) {
    turned = MatrixF(scales.cols(), scales.rows());
    for (int64_t i = 0; i < scales.rows(); ++i) {
      for (int64_t g = 0; g < scales.cols(); ++g) turned(g, i) = scales(i, g);
    }
  }
  const MatrixF& stored = transposed ? turned : scales;
  const auto count = static_cast<std::size_t>(stored.size());
  std::vector<std::byte> bytes(count * static_cast<std::size_t>(dtype_size(type)));
  COLDPRESS_CHECK(encode_from_f32(type, {stored.data(), count}, bytes));
  return bytes;
}

}  // namespace coldpress
