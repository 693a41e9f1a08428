// Reading GGUF. Every count and length is compared with the bytes that remain before it is used.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_set>
#include <utility>

#include "base/checked.h"
#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/gguf_split.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF values are read in place");

constexpr uint64_t kMostEntries = 16384;
// The smallest metadata entry: empty key, type, one byte; the smallest tensor: empty name,
// dimension count, type, offset.
constexpr uint64_t kSmallestEntry = 8 + 4 + 1;
constexpr uint64_t kSmallestTensor = 8 + 4 + 4 + 8;

// Bytes per element of fixed-size types; 0 for strings, arrays and unknown ids.
uint64_t fixed_size(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

// Takes values off the front; after a failed take, failed() stays true and values are zero.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }
  bool failed() const { return failed_; }

  std::span<const std::byte> take_bytes(uint64_t n) {
    if (failed_ || n > remaining()) {
      failed_ = true;
      return {};
    }
    const auto taken = bytes_.subspan(position_, n);
    position_ += n;
    return taken;
  }

  template <typename T>
  T take() {
    T value{};
    const auto taken = take_bytes(sizeof(T));
    if (!failed_) std::memcpy(&value, taken.data(), sizeof(T));
    return value;
  }

  std::string take_string() {
    const auto taken = take_bytes(take<uint64_t>());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
  bool failed_ = false;
};

Status truncated(const std::string& what) {
  return corrupt(what +
                 " reaches past the end of the file; it is truncated or damaged, fetch it "
                 "again");
}

Result<GgufArray> parse_array(Cursor& in, const std::string& what) {
  GgufArray array;
  array.element = static_cast<GgufType>(in.take<uint32_t>());
  array.count = in.take<uint64_t>();
  if (in.failed()) return truncated(what);
  if (array.element == GgufType::kArray) {
    return unsupported(what + " is an array of arrays, which no known reader supports");
  }
  if (array.element == GgufType::kString) {
    if (array.count > in.remaining() / sizeof(uint64_t)) return truncated(what);
    array.strings.reserve(array.count);
    for (uint64_t i = 0; i < array.count; ++i) {
      array.strings.push_back(in.take_string());
      if (in.failed()) return truncated(what);
    }
    return array;
  }
  const uint64_t size = fixed_size(array.element);
  if (size == 0) {
    return corrupt(fmt::format("{} has elements of the unknown type {}", what,
                               static_cast<uint32_t>(array.element)));
  }
  const auto total = checked_mul(array.count, size);
  if (!total.has_value() || *total > in.remaining()) return truncated(what);
  const auto raw = in.take_bytes(*total);
  array.raw.assign(raw.begin(), raw.end());
  return array;
}

Result<GgufValue> parse_value(Cursor& in, GgufType type, const std::string& what) {
  GgufValue v;
  v.type = type;
  switch (type) {
    case GgufType::kU8:
      v.value = static_cast<int64_t>(in.take<uint8_t>());
      break;
    case GgufType::kI8:
      v.value = static_cast<int64_t>(in.take<int8_t>());
      break;
    case GgufType::kU16:
      v.value = static_cast<int64_t>(in.take<uint16_t>());
      break;
    case GgufType::kI16:
      v.value = static_cast<int64_t>(in.take<int16_t>());
      break;
    case GgufType::kU32:
      v.value = static_cast<int64_t>(in.take<uint32_t>());
      break;
    case GgufType::kI32:
      v.value = static_cast<int64_t>(in.take<int32_t>());
      break;
    case GgufType::kU64:
    case GgufType::kI64:
      v.value = in.take<int64_t>();
      break;
    case GgufType::kBool:
      v.value = static_cast<int64_t>(in.take<uint8_t>() != 0);
      break;
    case GgufType::kF32:
      v.value = static_cast<double>(in.take<float>());
      break;
    case GgufType::kF64:
      v.value = in.take<double>();
      break;
    case GgufType::kString:
      v.value = in.take_string();
      break;
    case GgufType::kArray: {
      COLDPRESS_ASSIGN_OR_RETURN(v.value, parse_array(in, what));
      break;
    }
    default:
      return corrupt(
          fmt::format("{} has the unknown value type {}", what, static_cast<uint32_t>(type)));
  }
  if (in.failed()) return truncated(what);
  return v;
}

Status parse_metadata(Cursor& in, uint64_t count, GgufContent& content, const std::string& where) {
  std::unordered_set<std::string> keys;
  for (uint64_t i = 0; i < count; ++i) {
    std::string key = in.take_string();
    const auto type = static_cast<GgufType>(in.take<uint32_t>());
    if (in.failed()) return truncated(fmt::format("{}: metadata entry {}", where, i));
    const std::string what = fmt::format("{}: metadata {}", where, show_name(key));
    COLDPRESS_ASSIGN_OR_RETURN(GgufValue value, parse_value(in, type, what));
    if (!keys.insert(key).second) return corrupt(what + " appears twice");
    content.metadata.emplace_back(std::move(key), std::move(value));
  }
  return {};
}

Status parse_alignment(GgufContent& content, const std::string& where) {
  const GgufValue* alignment = content.find("general.alignment");
  if (alignment == nullptr) return {};
  const auto value = alignment->as_int();
  if (alignment->type != GgufType::kU32 || !value.has_value() || *value == 0 ||
      !std::has_single_bit(static_cast<uint64_t>(*value))) {
    return corrupt(where + ": general.alignment is not a power of two stored as u32");
  }
  content.alignment = static_cast<uint64_t>(*value);
  return {};
}

struct Placed {
  GgufTensor tensor;
  uint64_t offset = 0;  // in the data section
  uint64_t size = 0;
};

// One tensor's description; its bytes are attached once the data section's start is known.
Result<Placed> parse_tensor(Cursor& in, uint64_t index, const std::string& where) {
  Placed placed;
  GgufTensor& t = placed.tensor;
  t.name = in.take_string();
  const auto dims = in.take<uint32_t>();
  if (in.failed()) return truncated(fmt::format("{}: the description of tensor {}", where, index));
  const std::string what = fmt::format("{}: tensor {}", where, show_name(t.name));
  if (dims > kMostGgufDims) {
    return corrupt(
        fmt::format("{} has {} dimensions, more than the {} possible", what, dims, kMostGgufDims));
  }
  t.shape.resize(dims);
  for (uint32_t d = 0; d < dims; ++d) t.shape[dims - 1 - d] = in.take<int64_t>();
  t.ggml_type = in.take<int32_t>();
  placed.offset = in.take<uint64_t>();
  if (in.failed()) return truncated(what);

  const auto info = ggml_type_info(t.ggml_type);
  if (!info.has_value()) {
    return unsupported(fmt::format("{} has the unknown ggml type {}", what, t.ggml_type));
  }
  uint64_t rows = 1;
  for (std::size_t d = 0; d < t.shape.size(); ++d) {
    if (t.shape[d] < 0) return corrupt(what + " has a negative dimension");
    if (d + 1 == t.shape.size()) continue;
    const auto product = checked_mul(rows, static_cast<uint64_t>(t.shape[d]));
    if (!product.has_value()) return corrupt(what + " has a shape too large to exist");
    rows = *product;
  }
  const int64_t cols = t.shape.empty() ? 1 : t.shape.back();
  if (cols % info->block_elements != 0) {
    return corrupt(fmt::format("{} has rows of {} elements, which blocks of {} ({}) cannot hold",
                               what, cols, info->block_elements, info->name));
  }
  const auto row_bytes = ggml_row_bytes(t.ggml_type, cols);
  const auto size = row_bytes.has_value() ? checked_mul(*row_bytes, rows) : std::nullopt;
  // The element count must fit as well: block types hold more elements than bytes.
  const auto elements = checked_mul(rows, static_cast<uint64_t>(cols));
  if (!size.has_value() || !elements.has_value() ||
      *elements > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return corrupt(what + " has a shape too large to exist");
  }
  placed.size = *size;
  return placed;
}

// Checks where the tensors lie in `data` and gives them their bytes.
Status place_tensors(std::vector<Placed>& placed, std::span<const std::byte> data,
                     uint64_t alignment, const std::string& where) {
  for (Placed& p : placed) {
    const std::string what = fmt::format("{}: tensor {}", where, show_name(p.tensor.name));
    if (p.offset % alignment != 0) {
      return corrupt(
          fmt::format("{} starts at offset {}, not a multiple of {}", what, p.offset, alignment));
    }
    const auto end = checked_add(p.offset, p.size);
    if (!end.has_value() || *end > data.size()) return truncated(what);
    p.tensor.data = data.subspan(p.offset, p.size);
  }
  std::vector<const Placed*> order;
  for (const Placed& p : placed) {
    if (p.size > 0) order.push_back(&p);
  }
  std::sort(order.begin(), order.end(),
            [](const Placed* a, const Placed* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->size) {
      return corrupt(fmt::format("{}: tensors {} and {} overlap", where,
                                 show_name(order[i - 1]->tensor.name),
                                 show_name(order[i]->tensor.name)));
    }
  }
  return {};
}

Result<GgufContent> parse(std::span<const std::byte> bytes, const std::string& where) {
  Cursor in(bytes);
  const auto magic = in.take_bytes(4);
  if (in.failed() || std::memcmp(magic.data(), "GGUF", 4) != 0) {
    return corrupt(where + ": not a GGUF file");
  }
  GgufContent content;
  content.version = in.take<uint32_t>();
  const auto tensor_count = in.take<uint64_t>();
  const auto metadata_count = in.take<uint64_t>();
  if (in.failed()) return truncated(where + ": the GGUF header");
  if (content.version != 0 && (content.version & 0xffffU) == 0) {
    return unsupported(where + ": this GGUF file is big-endian; convert it to little-endian first");
  }
  if (content.version != 2 && content.version != 3) {
    return unsupported(
        fmt::format("{}: GGUF version {} is not supported (2 and 3 are)", where, content.version));
  }
  if (metadata_count > in.remaining() / kSmallestEntry) {
    return truncated(fmt::format("{}: the list of {} metadata entries", where, metadata_count));
  }
  if (metadata_count > kMostEntries) {
    return unsupported(fmt::format("{}: {} metadata entries are more than the {} allowed", where,
                                   metadata_count, kMostEntries));
  }
  COLDPRESS_RETURN_IF_ERROR(parse_metadata(in, metadata_count, content, where));
  COLDPRESS_RETURN_IF_ERROR(parse_alignment(content, where));

  if (tensor_count > in.remaining() / kSmallestTensor) {
    return truncated(fmt::format("{}: the list of {} tensors", where, tensor_count));
  }
  std::vector<Placed> placed;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    COLDPRESS_ASSIGN_OR_RETURN(Placed p, parse_tensor(in, i, where));
    if (!names.insert(p.tensor.name).second) {
      return corrupt(fmt::format("{}: tensor {} appears twice", where, show_name(p.tensor.name)));
    }
    placed.push_back(std::move(p));
  }
  const uint64_t a = content.alignment;
  const uint64_t data_start = (in.position() + a - 1) / a * a;
  const auto data =
      data_start < bytes.size() ? bytes.subspan(data_start) : std::span<const std::byte>();
  COLDPRESS_RETURN_IF_ERROR(place_tensors(placed, data, a, where));
  content.tensors.reserve(placed.size());
  for (Placed& p : placed) content.tensors.push_back(std::move(p.tensor));
  return content;
}

}  // namespace

Result<GgufContent> parse_gguf(std::span<const std::byte> bytes, const std::string& where) {
  return parse(bytes, where);
}

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  std::vector<MappedFile> files;
  COLDPRESS_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  COLDPRESS_ASSIGN_OR_RETURN(GgufContent content, parse_gguf(file.bytes(), path.string()));
  COLDPRESS_ASSIGN_OR_RETURN(const auto place, split_place(content, path.string()));
  if (!place) {
    files.push_back(std::move(file));
    return GgufFile(path, std::move(files), std::move(content));
  }
  std::vector<GgufContent> contents;
  std::vector<std::string> names;
  for (int64_t i = 0; i < place->count; ++i) {
    COLDPRESS_ASSIGN_OR_RETURN(const std::filesystem::path part, sibling_split(path, *place, i));
    auto opened = MappedFile::open(part);
    if (!opened.ok()) {
      return opened.status().with_context(
          fmt::format("{} is one of {} files", path.string(), place->count));
    }
    COLDPRESS_ASSIGN_OR_RETURN(GgufContent one, parse_gguf(opened->bytes(), part.string()));
    files.push_back(std::move(*opened));
    contents.push_back(std::move(one));
    names.push_back(part.string());
  }
  COLDPRESS_ASSIGN_OR_RETURN(GgufContent whole, merge_splits(std::move(contents), names));
  return GgufFile(path, std::move(files), std::move(whole));
}

}  // namespace coldpress
