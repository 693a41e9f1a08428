// quant_method "gptq": a linear X is "X.qweight" (gapless codes down the inputs, one column per
// output), "X.qzeros" (gapless codes along the outputs, one row per group), "X.scales" (groups,
// outputs), and "X.g_idx", the group of each input, where the quantiser has reordered them.
//
// checkpoint_format "gptq" (v1, the default) stores each zero less one, modulo 2^bits; "gptq_v2"
// stores it as it is. Weight = scale * (code - zero), rounded to the scales' type.
#include <fmt/format.h>

#include <algorithm>

#include "io/bit_stream.h"
#include "io/json.h"
#include "io/show_name.h"
#include "model/packed_parts.h"

namespace coldpress {
namespace {

constexpr int64_t kWordBits = 32;
constexpr int64_t kLargestGroup = int64_t{1} << 24;
constexpr int64_t kTile = 16;  // outputs decoded together: their words share a cache line

bool is_known_width(int64_t bits) { return bits == 2 || bits == 3 || bits == 4 || bits == 8; }

struct Parts {
  std::string owner;  // "X"
  const StoredTensor* codes = nullptr;
  const StoredTensor* zeros = nullptr;
  const StoredTensor* scales = nullptr;
  const StoredTensor* groups_of = nullptr;  // g_idx, or nullptr
};

struct Shape {
  int bits = 0;
  int64_t in = 0;
  int64_t out = 0;
  int64_t groups = 0;
};

class Reader final : public PackedReader {
 public:
  Reader(int64_t bits, int64_t group, bool zeros_less_one, bool varied)
      : bits_(bits), group_(group), zeros_less_one_(zeros_less_one), varied_(varied) {}

  Result<std::optional<PackedWeight>> read(const StoredTensor& codes,
                                           const StoredTensors& all) const override {
    constexpr std::string_view kSuffix = ".qweight";
    if (!codes.name.ends_with(kSuffix)) return std::optional<PackedWeight>();
    Parts parts;
    parts.codes = &codes;
    parts.owner = codes.name.substr(0, codes.name.size() - kSuffix.size());
    COLDPRESS_ASSIGN_OR_RETURN(parts.zeros,
                               need_part(all, parts.owner + ".qzeros", codes.name, "zero points"));
    COLDPRESS_ASSIGN_OR_RETURN(parts.scales,
                               need_part(all, parts.owner + ".scales", codes.name, "scales"));
    parts.groups_of = all.find(parts.owner + ".g_idx");
    COLDPRESS_ASSIGN_OR_RETURN(const Shape shape, check(parts, all));
    return std::optional<PackedWeight>(make(parts, shape, all));
  }

 private:
  Result<Shape> check(const Parts& p, const StoredTensors& all) const;
  PackedWeight make(const Parts& p, const Shape& shape, const StoredTensors& all) const;

  int64_t bits_;
  int64_t group_;  // 0: all inputs
  bool zeros_less_one_;
  bool varied_;  // widths differ from linear to linear, so they follow from the shapes
};

Result<Shape> Reader::check(const Parts& p, const StoredTensors& all) const {
  for (const StoredTensor* words : {p.codes, p.zeros}) {
    COLDPRESS_RETURN_IF_ERROR(check_matrix(all, *words));
    if (words->dtype != DType::kI32) {
      return corrupt(fmt::format("{} is stored as {}; packed codes are I32", all.what(words->name),
                                 dtype_name(words->dtype)));
    }
  }
  COLDPRESS_RETURN_IF_ERROR(check_float_part(all, *p.scales));
  const int64_t words = p.codes->shape[0];
  Shape s;
  s.out = p.codes->shape[1];
  s.groups = p.zeros->shape[0];
  int64_t bits = bits_;
  if (varied_) bits = p.zeros->shape[1] * kWordBits / s.out;
  // words * out * 4 bytes exist, and neither is zero, so no product below overflows.
  if (!is_known_width(bits) || words * kWordBits % bits != 0) {
    return wrong_shape(all, *p.codes, fmt::format("codes of {} bits do not fill it", bits));
  }
  s.bits = static_cast<int>(bits);
  s.in = words * kWordBits / bits;
  if (s.out * bits % kWordBits != 0 || p.zeros->shape[1] != s.out * bits / kWordBits) {
    return wrong_shape(all, *p.zeros,
                       fmt::format("{} zero points of {} bits need another", s.out, bits));
  }
  if (p.scales->shape != std::vector<int64_t>{s.groups, s.out}) {
    return wrong_shape(all, *p.scales,
                       fmt::format("the zero points imply [{}, {}]", s.groups, s.out));
  }
  if (p.groups_of != nullptr) {
    if (p.groups_of->dtype != DType::kI32 && p.groups_of->dtype != DType::kI64) {
      return corrupt(fmt::format("{} holds group numbers as {}, not as I32",
                                 all.what(p.groups_of->name), dtype_name(p.groups_of->dtype)));
    }
    if (p.groups_of->shape != std::vector<int64_t>{s.in}) {
      return wrong_shape(all, *p.groups_of, fmt::format("there are {} inputs", s.in));
    }
  } else if (s.groups != grid_of({1, group_ == 0 ? s.in : group_}, 1, s.in).across) {
    return wrong_shape(all, *p.scales,
                       fmt::format("{} inputs in groups of {} need another number of groups", s.in,
                                   group_ == 0 ? s.in : group_));
  }
  return s;
}

PackedWeight Reader::make(const Parts& p, const Shape& shape, const StoredTensors& all) const {
  PackedWeight weight;
  weight.name = p.owner + ".weight";
  weight.rows = shape.out;
  weight.cols = shape.in;
  weight.parts = {p.codes->name, p.zeros->name, p.scales->name};
  if (p.groups_of != nullptr) weight.parts.push_back(p.groups_of->name);
  const int64_t group = group_ == 0 ? std::max<int64_t>(shape.in, 1) : group_;
  weight.type = fmt::format("GPTQ INT{} {}", shape.bits,
                            shape.groups <= 1 ? "channel" : fmt::format("g{}", group));
  const int add = zeros_less_one_ ? 1 : 0;
  const std::string what = p.groups_of == nullptr ? std::string() : all.what(p.groups_of->name);
  weight.decode = [codes = p.codes->data, zeros = p.zeros->data, scales = *p.scales,
                   groups_of = p.groups_of == nullptr ? StoredTensor() : *p.groups_of, what, shape,
                   group, add](std::span<float> out) -> Status {
    const auto inputs = static_cast<std::size_t>(shape.in);
    const auto outputs = static_cast<std::size_t>(shape.out);
    std::vector<int64_t> group_of(inputs);
    if (!what.empty()) group_of = *integer_values(groups_of);
    for (std::size_t i = 0; i < inputs; ++i) {
      if (what.empty()) group_of[i] = static_cast<int64_t>(i) / group;
      if (group_of[i] < 0 || group_of[i] >= shape.groups) {
        return corrupt(fmt::format("{} puts input {} into group {}, but there are {}", what, i,
                                   group_of[i], shape.groups));
      }
    }
    const std::vector<float> scale = float_values(scales);
    const uint32_t mask = (1U << shape.bits) - 1;
    std::vector<float> zero(scale.size());
    const std::size_t zero_words = outputs * static_cast<std::size_t>(shape.bits) / kWordBits;
    for (std::size_t g = 0; g < static_cast<std::size_t>(shape.groups); ++g) {
      for (std::size_t o = 0; o < outputs; ++o) {
        const uint32_t code = stream_code(zeros, g * zero_words, 1, shape.bits, o);
        zero[g * outputs + o] = static_cast<float>((code + static_cast<uint32_t>(add)) & mask);
      }
    }
    for (std::size_t first = 0; first < outputs; first += kTile) {
      const std::size_t last = std::min<std::size_t>(first + kTile, outputs);
      for (std::size_t i = 0; i < inputs; ++i) {
        const std::size_t at = static_cast<std::size_t>(group_of[i]) * outputs;
        for (std::size_t o = first; o < last; ++o) {
          const uint32_t code = stream_code(codes, o, outputs, shape.bits, i);
          out[o * inputs + i] = scale[at + o] * (static_cast<float>(code) - zero[at + o]);
        }
      }
    }
    round_as_loaders(scales.dtype, out);
    return {};
  };
  return weight;
}

Result<std::unique_ptr<PackedReader>> open(const Json& settings, const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t bits, setting_or(settings, "bits", 4, 1, 32, where));
  if (!is_known_width(bits)) {
    return unsupported(
        fmt::format("{}: quantization_config has GPTQ codes of {} bits; 2, 3, 4 and 8 can be read",
                    where, bits));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t group,
                             setting_or(settings, "group_size", -1, -1, kLargestGroup, where));
  const auto format = settings.find("checkpoint_format");
  const bool has_format = format != settings.end() && !format->is_null();
  if (has_format && *format != "gptq" && *format != "gptq_v2") {
    return unsupported(fmt::format(
        "{}: quantization_config has checkpoint_format {}; gptq and gptq_v2 can be read", where,
        format->is_string() ? show_name(format->get<std::string>()) : format->dump()));
  }
  const auto dynamic = settings.find("dynamic");
  const bool varied = dynamic != settings.end() && dynamic->is_object() && !dynamic->empty();
  return std::unique_ptr<PackedReader>(std::make_unique<Reader>(
      bits, std::max<int64_t>(group, 0), !has_format || *format == "gptq", varied));
}

}  // namespace

extern const PackedForm kPackedForm_gptq;
const PackedForm kPackedForm_gptq = {.quant_method = "gptq", .open = open};

}  // namespace coldpress
