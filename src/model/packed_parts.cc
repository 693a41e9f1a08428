#include "model/packed_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/fp8.h"
#include "io/json.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

int64_t blocks_in(int64_t extent, int64_t block) {
  return extent / block + static_cast<int64_t>(extent % block != 0);
}

template <typename T>
std::vector<int64_t> widen(std::span<const std::byte> bytes) {
  std::vector<int64_t> out(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<int64_t>(value);
  }
  return out;
}

void decode_codes(const StoredTensor& codes, std::span<float> out) {
  if (is_fp8(codes.dtype)) return decode_fp8(codes.dtype, codes.data, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(static_cast<int8_t>(codes.data[i]));
  }
}

}  // namespace

StoredTensors::StoredTensors(std::span<const StoredTensor> tensors, std::string where)
    : tensors_(tensors), where_(std::move(where)) {
  for (const StoredTensor& t : tensors_) by_name_.emplace(t.name, &t);
}

const StoredTensor* StoredTensors::find(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

std::string StoredTensors::what(const std::string& name) const {
  return fmt::format("{}: tensor {}", where_, show_name(name));
}

BlockGrid grid_of(BlockSize block, int64_t rows, int64_t cols) {
  block.rows = std::clamp<int64_t>(block.rows, 1, std::max<int64_t>(rows, 1));
  block.cols = std::clamp<int64_t>(block.cols, 1, std::max<int64_t>(cols, 1));
  return {block, blocks_in(rows, block.rows), blocks_in(cols, block.cols)};
}

bool holds_grid(const std::vector<int64_t>& shape, const BlockGrid& grid) {
  if (shape == std::vector<int64_t>{grid.down, grid.across}) return true;
  if (grid.across == 1 && shape == std::vector<int64_t>{grid.down}) return true;
  return grid.across == 1 && grid.down == 1 && shape.empty();
}

std::string grid_label(const BlockGrid& grid, int64_t rows, int64_t cols) {
  if (grid.block.rows >= rows && grid.block.cols >= cols && rows > 1) return "tensor";
  if (grid.block.rows > 1) return fmt::format("{}x{}", grid.block.rows, grid.block.cols);
  if (grid.block.cols >= cols) return "channel";
  return fmt::format("g{}", grid.block.cols);
}

std::string dims_text(const std::vector<int64_t>& shape) {
  constexpr std::size_t kMostDims = 8;
  if (shape.size() > kMostDims) return fmt::format("of {} dimensions", shape.size());
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<const StoredTensor*> need_part(const StoredTensors& all, const std::string& name,
                                      const std::string& owner, const char* purpose) {
  const StoredTensor* part = all.find(name);
  if (part == nullptr) {
    return not_found(fmt::format("{} is missing, which holds the {} of {}", all.what(name), purpose,
                                 show_name(owner)));
  }
  return part;
}

Status check_matrix(const StoredTensors& all, const StoredTensor& part) {
  if (part.shape.size() == 2 && part.shape[0] > 0 && part.shape[1] > 0) return {};
  return unsupported(
      fmt::format("{} has shape {}; a quantised weight is a matrix that is not empty",
                  all.what(part.name), dims_text(part.shape)));
}

Status check_float_part(const StoredTensors& all, const StoredTensor& part) {
  if (part.dtype == DType::kF32 || part.dtype == DType::kF16 || part.dtype == DType::kBF16) {
    return {};
  }
  return unsupported(fmt::format("{} holds scales as {}; F32, F16 and BF16 can be read",
                                 all.what(part.name), dtype_name(part.dtype)));
}

Status wrong_shape(const StoredTensors& all, const StoredTensor& part,
                   const std::string& expected) {
  return corrupt(
      fmt::format("{} has shape {}, but {}", all.what(part.name), dims_text(part.shape), expected));
}

std::vector<float> float_values(const StoredTensor& part) {
  std::vector<float> values(part.data.size() / static_cast<std::size_t>(dtype_size(part.dtype)));
  COLDPRESS_CHECK(decode_to_f32(part.dtype, part.data, values));
  return values;
}

void round_as_loaders(DType type, std::span<float> values) {
  if (type != DType::kF32) round_to_dtype(type, values);
}

std::optional<std::vector<int64_t>> integer_values(const StoredTensor& part) {
  switch (part.dtype) {
    case DType::kI64:
      return widen<int64_t>(part.data);
    case DType::kI32:
      return widen<int32_t>(part.data);
    case DType::kI16:
      return widen<int16_t>(part.data);
    case DType::kI8:
      return widen<int8_t>(part.data);
    case DType::kU8:
      return widen<uint8_t>(part.data);
    default:
      return std::nullopt;
  }
}

Result<int64_t> setting_or(const Json& settings, const char* key, int64_t missing, int64_t least,
                           int64_t most, const std::string& where) {
  const auto it = settings.find(key);
  if (it == settings.end() || it->is_null()) return missing;
  if (!it->is_number_integer() || it->get<int64_t>() < least || it->get<int64_t>() > most ||
      (it->is_number_unsigned() && it->get<uint64_t>() > static_cast<uint64_t>(most))) {
    return corrupt(
        fmt::format("{}: \"{}\" of quantization_config must be a whole number from {} "
                    "to {}",
                    where, key, least, most));
  }
  return it->get<int64_t>();
}

Result<PackedWeight> scaled_bytes(const StoredTensors& all, const StoredTensor& codes,
                                  const StoredTensor& scales, const StoredTensor* zeros,
                                  std::span<const BlockSize> blocks) {
  COLDPRESS_RETURN_IF_ERROR(check_matrix(all, codes));
  COLDPRESS_RETURN_IF_ERROR(check_float_part(all, scales));
  const int64_t rows = codes.shape[0];
  const int64_t cols = codes.shape[1];
  std::optional<BlockGrid> grid;
  for (const BlockSize& block : blocks) {
    const BlockGrid candidate = grid_of(block, rows, cols);
    if (!grid && holds_grid(scales.shape, candidate)) grid = candidate;
  }
  if (!grid) {
    return wrong_shape(all, scales,
                       fmt::format("quantization_config implies other blocks for the weight's {}",
                                   dims_text(codes.shape)));
  }
  if (zeros != nullptr && !holds_grid(zeros->shape, *grid)) {
    return wrong_shape(all, *zeros, "zero points need the shape of the scales");
  }
  if (zeros != nullptr && zeros->dtype != DType::kI8) {
    return unsupported(fmt::format("{} holds zero points as {}; I8 can be read",
                                   all.what(zeros->name), dtype_name(zeros->dtype)));
  }
  PackedWeight weight;
  weight.name = codes.name;
  weight.type =
      fmt::format("{} {}", is_fp8(codes.dtype) ? "FP8" : "INT8", grid_label(*grid, rows, cols));
  weight.rows = rows;
  weight.cols = cols;
  weight.parts = {codes.name, scales.name};
  if (zeros != nullptr) weight.parts.push_back(zeros->name);
  const auto zero_codes = zeros == nullptr ? std::span<const std::byte>() : zeros->data;
  weight.decode = [codes, scales, zero_codes, g = *grid, rows, cols](std::span<float> out) {
    decode_codes(codes, out);
    const std::vector<float> scale = float_values(scales);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = out.data() + r * cols;
      for (int64_t c = 0; c < cols; ++c) {
        const std::size_t at = g.at(r, c);
        if (!zero_codes.empty()) row[c] -= static_cast<float>(static_cast<int8_t>(zero_codes[at]));
        row[c] *= scale[at];
      }
      if (!is_fp8(codes.dtype)) {
        round_as_loaders(scales.dtype, {row, static_cast<std::size_t>(cols)});
      }
    }
    return Status();
  };
  return weight;
}

}  // namespace coldpress
