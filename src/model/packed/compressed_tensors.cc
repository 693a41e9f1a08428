// quant_method "compressed-tensors". By what a linear X has beside it:
//
//   X.weight_packed (I32)   pack-quantized: integers of 1 to 8 bits along the inputs, less
//                           2^(bits-1); with X.weight_shape, X.weight_scale and optionally
//                           X.weight_zero_point (packed along the outputs) and X.weight_g_idx (the
//                           group of each input)
//   X.weight (FP8) and X.weight_scale            float-quantized
//   X.weight (I8) and X.weight_scale             int-quantized; optionally X.weight_zero_point
//
// Integers follow each other without a gap; older versions of the library put 32 / bits into each
// word, which takes more of them where the bits do not divide 32.
//
// Widths and groups are those of quantization_config's config_groups; where there are several, the
// shapes decide which one a weight belongs to. Weight = scale * (code - zero point), rounded to the
// scales' type (of integers).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "io/bit_stream.h"
#include "io/fp8.h"
#include "io/json.h"
#include "io/show_name.h"
#include "model/packed_parts.h"

namespace coldpress {
namespace {

constexpr int64_t kLargestBlock = int64_t{1} << 24;
constexpr int64_t kWholeExtent = int64_t{1} << 62;  // cut to the matrix by grid_of

// What one entry of config_groups says of its weights.
struct Scheme {
  int64_t bits = 0;
  BlockSize block;
};

struct PackedShape {
  int64_t rows = 0;
  int64_t cols = 0;
  int bits = 0;
  bool gapless = true;
  BlockGrid grid;
};

// Sizes are positive and at most 2^62: no sum of the parts overflows.
int64_t words_for(int64_t count, int64_t bits, bool gapless) {
  const int64_t codes = gapless ? 32 : 32 / bits;  // in as many words as `words`
  const int64_t words = gapless ? bits : 1;
  const int64_t rest = count % codes;
  return count / codes * words + (gapless ? (rest * bits + 31) / 32 : (rest != 0 ? 1 : 0));
}

uint32_t code_at(const PackedShape& s, std::span<const std::byte> words, std::size_t offset,
                 std::size_t stride, std::size_t i) {
  return s.gapless ? stream_code(words, offset, stride, s.bits, i)
                   : word_code(words, offset, stride, s.bits, i);
}

class Reader final : public PackedReader {
 public:
  explicit Reader(std::vector<Scheme> schemes) : schemes_(std::move(schemes)) {}

  Result<std::optional<PackedWeight>> read(const StoredTensor& codes,
                                           const StoredTensors& all) const override {
    if (codes.name.ends_with(".weight_packed")) return read_packed(codes, all);
    const bool bytes =
        is_fp8(codes.dtype) || (codes.dtype == DType::kI8 && codes.name.ends_with(".weight"));
    if (!bytes) return std::optional<PackedWeight>();
    COLDPRESS_ASSIGN_OR_RETURN(const StoredTensor* scales,
                               need_part(all, codes.name + "_scale", codes.name, "scales"));
    std::vector<BlockSize> blocks;
    for (const Scheme& s : schemes_) {
      if (s.bits == 8 || codes.dtype == DType::kI8) blocks.push_back(s.block);
    }
    const StoredTensor* zeros =
        codes.dtype == DType::kI8 ? all.find(codes.name + "_zero_point") : nullptr;
    COLDPRESS_ASSIGN_OR_RETURN(PackedWeight weight,
                               scaled_bytes(all, codes, *scales, zeros, blocks));
    return std::optional<PackedWeight>(std::move(weight));
  }

 private:
  Result<std::optional<PackedWeight>> read_packed(const StoredTensor& codes,
                                                  const StoredTensors& all) const;
  Result<PackedShape> shape_of(const StoredTensor& codes, const StoredTensor& shape,
                               const StoredTensor& scales, const StoredTensors& all) const;

  std::vector<Scheme> schemes_;
};

Result<PackedShape> Reader::shape_of(const StoredTensor& codes, const StoredTensor& shape,
                                     const StoredTensor& scales, const StoredTensors& all) const {
  COLDPRESS_RETURN_IF_ERROR(check_matrix(all, codes));
  if (codes.dtype != DType::kI32) {
    return corrupt(fmt::format("{} is stored as {}; packed codes are I32", all.what(codes.name),
                               dtype_name(codes.dtype)));
  }
  const auto dims = integer_values(shape);
  if (!dims || dims->size() != 2 || (*dims)[0] != codes.shape[0] || (*dims)[1] < 1) {
    return corrupt(fmt::format("{} does not hold the two sizes of a matrix that packs into {}",
                               all.what(shape.name), dims_text(codes.shape)));
  }
  PackedShape s;
  s.rows = (*dims)[0];
  s.cols = (*dims)[1];
  int fitting = 0;
  for (const Scheme& scheme : schemes_) {
    const BlockGrid grid = grid_of(scheme.block, s.rows, s.cols);
    if (!holds_grid(scales.shape, grid)) continue;
    const bool same = s.bits == scheme.bits && s.grid.block.rows == grid.block.rows &&
                      s.grid.block.cols == grid.block.cols;
    // Where both take as many words, they are the same but for bits that straddle words.
    const bool alike = 32 % scheme.bits == 0 || codes.shape[1] == 1;
    for (const bool gapless : {true, false}) {
      if (codes.shape[1] != words_for(s.cols, scheme.bits, gapless) || (alike && !gapless))
        continue;
      if (!same) ++fitting;
      s.bits = static_cast<int>(scheme.bits);
      s.gapless = gapless;
      s.grid = grid;
    }
  }
  if (fitting == 1) return s;
  return corrupt(fmt::format(
      "{} with shape {} for a matrix {} and scales {} fits {} of quantization_config's groups",
      all.what(codes.name), dims_text(codes.shape), dims_text(*dims), dims_text(scales.shape),
      fitting == 0 ? "none" : "several"));
}

// Zero points are I8 in the shape of the scales, or packed along the outputs.
Status check_zero_points(const StoredTensor& part, const PackedShape& s, const StoredTensors& all) {
  if (part.dtype == DType::kI8 && holds_grid(part.shape, s.grid)) return {};
  const std::vector<int64_t> packed = {words_for(s.grid.down, s.bits, s.gapless), s.grid.across};
  if (part.dtype == DType::kI32 && part.shape == packed) return {};
  return corrupt(fmt::format("{} is {} {}; zero points of this weight are I32 {}",
                             all.what(part.name), dtype_name(part.dtype), dims_text(part.shape),
                             dims_text(packed)));
}

// Less 2^(bits-1), as the codes are, one per block.
std::vector<float> zero_points(const StoredTensor& part, const PackedShape& s) {
  std::vector<float> zeros(static_cast<std::size_t>(s.grid.down * s.grid.across));
  const auto across = static_cast<std::size_t>(s.grid.across);
  const int half = 1 << (s.bits - 1);
  for (std::size_t i = 0; i < zeros.size(); ++i) {
    if (part.dtype == DType::kI8) {
      zeros[i] = static_cast<float>(static_cast<int8_t>(part.data[i]));
    } else {
      const uint32_t code = code_at(s, part.data, i % across, across, i / across);
      zeros[i] = static_cast<float>(static_cast<int>(code) - half);
    }
  }
  return zeros;
}

// The group of each input, or an error. All -1: none was assigned, so they are consecutive.
Result<std::vector<int64_t>> groups_of(const StoredTensor& part, const PackedShape& s,
                                       const std::string& what) {
  std::vector<int64_t> groups = *integer_values(part);
  const bool unset = std::all_of(groups.begin(), groups.end(), [](int64_t g) { return g == -1; });
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (unset) groups[i] = static_cast<int64_t>(i) / s.grid.block.cols;
    if (groups[i] < 0 || groups[i] >= s.grid.across) {
      return corrupt(fmt::format("{} puts input {} into group {}, but there are {}", what, i,
                                 groups[i], s.grid.across));
    }
  }
  return groups;
}

Result<std::optional<PackedWeight>> Reader::read_packed(const StoredTensor& codes,
                                                        const StoredTensors& all) const {
  const std::string name = codes.name.substr(0, codes.name.size() - 7);  // "_packed"
  COLDPRESS_ASSIGN_OR_RETURN(const StoredTensor* shape,
                             need_part(all, name + "_shape", codes.name, "shape"));
  COLDPRESS_ASSIGN_OR_RETURN(const StoredTensor* scales,
                             need_part(all, name + "_scale", codes.name, "scales"));
  COLDPRESS_RETURN_IF_ERROR(check_float_part(all, *scales));
  COLDPRESS_ASSIGN_OR_RETURN(const PackedShape s, shape_of(codes, *shape, *scales, all));
  PackedWeight weight;
  weight.name = name;
  weight.type = fmt::format("INT{} {}", s.bits, grid_label(s.grid, s.rows, s.cols));
  weight.rows = s.rows;
  weight.cols = s.cols;
  weight.parts = {codes.name, shape->name, scales->name};
  const StoredTensor* zero_part = all.find(name + "_zero_point");
  if (zero_part != nullptr) {
    weight.parts.push_back(zero_part->name);
    COLDPRESS_RETURN_IF_ERROR(check_zero_points(*zero_part, s, all));
  }
  const StoredTensor* index = all.find(name + "_g_idx");
  if (index != nullptr) {
    weight.parts.push_back(index->name);
    const bool whole = index->dtype == DType::kI32 || index->dtype == DType::kI64;
    if (!whole || index->shape != std::vector<int64_t>{s.cols}) {
      return wrong_shape(all, *index, fmt::format("there are {} inputs", s.cols));
    }
  }
  weight.decode = [codes = codes.data, scales = *scales,
                   zero_part = zero_part == nullptr ? StoredTensor() : *zero_part,
                   index = index == nullptr ? StoredTensor() : *index,
                   what = index == nullptr ? std::string() : all.what(index->name),
                   s](std::span<float> out) -> Status {
    std::vector<int64_t> groups;
    if (!what.empty()) {
      COLDPRESS_ASSIGN_OR_RETURN(groups, groups_of(index, s, what));
    }
    const std::vector<float> scale = float_values(scales);
    const std::vector<float> zeros =
        zero_part.name.empty() ? std::vector<float>() : zero_points(zero_part, s);
    const int half = 1 << (s.bits - 1);
    const auto words = static_cast<std::size_t>(words_for(s.cols, s.bits, s.gapless));
    for (int64_t r = 0; r < s.rows; ++r) {
      float* row = out.data() + r * s.cols;
      const std::size_t first = static_cast<std::size_t>(r) * words;
      const std::size_t first_scale = s.grid.at(r, 0);
      for (int64_t c = 0; c < s.cols; ++c) {
        const auto column = static_cast<std::size_t>(c);
        const std::size_t at = groups.empty()
                                   ? s.grid.at(r, c)
                                   : first_scale + static_cast<std::size_t>(groups[column]);
        const uint32_t code = code_at(s, codes, first, 1, column);
        float value = static_cast<float>(static_cast<int>(code) - half);
        if (!zeros.empty()) value -= zeros[at];
        row[c] = value * scale[at];
      }
      round_as_loaders(scales.dtype, {row, static_cast<std::size_t>(s.cols)});
    }
    return {};
  };
  return std::optional<PackedWeight>(std::move(weight));
}

// "block_structure" is [128, 128] or "128x128".
std::optional<BlockSize> block_structure(const Json& value) {
  std::vector<int64_t> sizes;
  if (value.is_array()) {
    for (const Json& n : value) {
      if (!n.is_number_unsigned()) return std::nullopt;
      sizes.push_back(static_cast<int64_t>(std::min<uint64_t>(n.get<uint64_t>(), kWholeExtent)));
    }
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const char* at = text.data();
    const char* end = at + text.size();
    while (at < end) {
      const auto [next, error] = std::from_chars(at, end, sizes.emplace_back());
      if (error != std::errc() || (next != end && *next != 'x')) return std::nullopt;
      at = next == end ? end : next + 1;
    }
  }
  if (sizes.size() != 2) return std::nullopt;
  for (const int64_t n : sizes) {
    if (n < 1 || n > kLargestBlock) return std::nullopt;
  }
  return BlockSize{sizes[0], sizes[1]};
}

std::string text_of(const Json& settings, const char* key) {
  const auto it = settings.find(key);
  return it != settings.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// "weights" of one entry of config_groups.
Result<Scheme> read_scheme(const Json& weights, const std::string& where) {
  Scheme scheme;
  COLDPRESS_ASSIGN_OR_RETURN(scheme.bits, setting_or(weights, "num_bits", 8, 1, 8, where));
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t group,
                             setting_or(weights, "group_size", 0, -1, kLargestBlock, where));
  std::string strategy = text_of(weights, "strategy");
  if (strategy.empty()) strategy = group > 0 ? "group" : (group < 0 ? "channel" : "tensor");
  if (strategy == "tensor") {
    scheme.block = {kWholeExtent, kWholeExtent};
  } else if (strategy == "channel") {
    scheme.block = {1, kWholeExtent};
  } else if (strategy == "group" && group > 0) {
    scheme.block = {1, group};
  } else if (strategy == "block") {
    const auto structure = weights.find("block_structure");
    const auto block = structure == weights.end() ? std::nullopt : block_structure(*structure);
    if (!block) {
      return corrupt(where +
                     ": \"block_structure\" of quantization_config must be two sizes, such as "
                     "[128, 128]");
    }
    scheme.block = *block;
  } else {
    return unsupported(
        fmt::format("{}: quantization_config has weights with the strategy {} (group_size {}); "
                    "tensor, channel, "
                    "group and block can be read",
                    where, show_name(strategy), group));
  }
  return scheme;
}

Status check_formats(const Json& settings, const std::string& where) {
  const std::string format = text_of(settings, "format");
  for (const std::string_view known : {"", "dense", "pack-quantized", "float-quantized",
                                       "int-quantized", "naive-quantized", "mixed-precision"}) {
    if (format == known) return {};
  }
  return unsupported(
      fmt::format("{}: quantization_config has the format {}; pack-quantized, float-quantized and "
                  "int-quantized "
                  "can be read",
                  where, show_name(format)));
}

Result<std::unique_ptr<PackedReader>> open(const Json& settings, const std::string& where) {
  COLDPRESS_RETURN_IF_ERROR(check_formats(settings, where));
  const auto sparsity = settings.find("sparsity_config");
  if (sparsity != settings.end() && sparsity->is_object()) {
    const std::string format = text_of(*sparsity, "format");
    if (!format.empty() && format != "dense") {
      return unsupported(fmt::format(
          "{}: quantization_config has weights of the sparse format {}, which cannot be read",
          where, show_name(format)));
    }
  }
  std::vector<Scheme> schemes;
  const auto groups = settings.find("config_groups");
  if (groups != settings.end() && groups->is_object()) {
    for (const auto& [name, group] : groups->items()) {
      if (!group.is_object()) {
        return corrupt(fmt::format("{}: config_groups entry {} of quantization_config is no object",
                                   where, show_name(name)));
      }
      COLDPRESS_RETURN_IF_ERROR(check_formats(group, where));
      const auto weights = group.find("weights");
      if (weights == group.end() || !weights->is_object()) continue;
      COLDPRESS_ASSIGN_OR_RETURN(Scheme scheme, read_scheme(*weights, where));
      schemes.push_back(scheme);
    }
  }
  return std::unique_ptr<PackedReader>(std::make_unique<Reader>(std::move(schemes)));
}

}  // namespace

extern const PackedForm kPackedForm_compressed_tensors;
const PackedForm kPackedForm_compressed_tensors = {.quant_method = "compressed-tensors",
                                                   .open = open};

}  // namespace coldpress
