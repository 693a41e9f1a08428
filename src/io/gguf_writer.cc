// Writing GGUF v3: the whole header first, space for the tensors reserved, then tensors in any
// order.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/checked.h"
#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/show_name.h"
#include "io/tensor_slots.h"

namespace coldpress {
namespace {

constexpr std::size_t kLongestName = 63;  // llama.cpp refuses longer ones
constexpr uint64_t kHeaderBytes = 4 + 4 + 8 + 8;
constexpr uint64_t kDefaultAlignment = 32;
constexpr char kAlignmentKey[] = "general.alignment";

class Buffer {
 public:
  template <typename T>
  void put(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes_.append(raw, sizeof(T));
  }
  void put_string(const std::string& s) {
    put<uint64_t>(s.size());
    bytes_ += s;
  }
  void put_bytes(const std::vector<std::byte>& raw) {
    bytes_.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

void put_array(Buffer& out, const GgufArray& array) {
  out.put(static_cast<uint32_t>(array.element));
  out.put(array.count);
  if (array.element == GgufType::kString) {
    COLDPRESS_CHECK(array.count == array.strings.size());
    for (const std::string& s : array.strings) out.put_string(s);
  } else {
    out.put_bytes(array.raw);
  }
}

void put_value(Buffer& out, const GgufValue& v) {
  out.put(static_cast<uint32_t>(v.type));
  const auto integer = [&] { return std::get<int64_t>(v.value); };
  switch (v.type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return out.put(static_cast<uint8_t>(integer()));
    case GgufType::kU16:
    case GgufType::kI16:
      return out.put(static_cast<uint16_t>(integer()));
    case GgufType::kU32:
    case GgufType::kI32:
      return out.put(static_cast<uint32_t>(integer()));
    case GgufType::kU64:
    case GgufType::kI64:
      return out.put(integer());
    case GgufType::kF32:
      return out.put(static_cast<float>(std::get<double>(v.value)));
    case GgufType::kF64:
      return out.put(std::get<double>(v.value));
    case GgufType::kString:
      return out.put_string(std::get<std::string>(v.value));
    case GgufType::kArray:
      return put_array(out, std::get<GgufArray>(v.value));
  }
}

// Bytes of the tensor, or what is wrong with its declaration.
Result<uint64_t> declared_bytes(const GgufWriter::Declaration& t, const std::string& where) {
  const std::string what = fmt::format("{}: tensor {}", where, show_name(t.name));
  const auto info = ggml_type_info(t.ggml_type);
  if (!info.has_value()) {
    return invalid_argument(fmt::format("{} has the unknown ggml type {}", what, t.ggml_type));
  }
  if (t.name.size() > kLongestName) {
    return invalid_argument(fmt::format(
        "{} has a name longer than the {} bytes that GGUF readers accept", what, kLongestName));
  }
  if (t.shape.size() > kMostGgufDims) {
    return invalid_argument(fmt::format("{} has {} dimensions; GGUF holds at most {}", what,
                                        t.shape.size(), kMostGgufDims));
  }
  std::optional<uint64_t> size = ggml_row_bytes(t.ggml_type, t.shape.empty() ? 1 : t.shape.back());
  if (!size.has_value()) {
    return invalid_argument(fmt::format("{} has rows that blocks of {} ({}) cannot hold", what,
                                        info->block_elements, info->name));
  }
  for (std::size_t d = 0; d + 1 < t.shape.size() && size.has_value(); ++d) {
    size = t.shape[d] < 0 ? std::nullopt : checked_mul(*size, static_cast<uint64_t>(t.shape[d]));
  }
  if (!size.has_value()) return invalid_argument(what + " has an impossible shape");
  return *size;
}

std::optional<uint64_t> round_up(uint64_t n, uint64_t alignment) {
  const auto sum = checked_add(n, alignment - 1);
  return sum.has_value() ? std::optional<uint64_t>(*sum / alignment * alignment) : std::nullopt;
}

}  // namespace

struct GgufWriter::State {
  struct Place {
    uint64_t offset = 0;  // from the start of the file
    uint64_t size = 0;
  };
  TensorSlots slots;
  AtomicFile file;
  std::unordered_map<std::string, Place> strings;  // metadata
};

GgufWriter::GgufWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
GgufWriter::GgufWriter(GgufWriter&&) noexcept = default;
GgufWriter& GgufWriter::operator=(GgufWriter&&) noexcept = default;
GgufWriter::~GgufWriter() = default;

Result<GgufWriter> GgufWriter::create(
    const std::filesystem::path& path,
    const std::vector<std::pair<std::string, GgufValue>>& metadata,
    std::vector<Declaration> tensors, uint64_t alignment) {
  const std::string where = path.string();
  if (!std::has_single_bit(alignment) || alignment > std::numeric_limits<uint32_t>::max()) {
    return invalid_argument(
        fmt::format("{}: alignment {} is not a power of two", where, alignment));
  }
  const GgufValue alignment_value = GgufValue::u32(static_cast<uint32_t>(alignment));

  Buffer entries;
  uint64_t entry_count = 0;
  std::unordered_set<std::string> keys;
  std::unordered_map<std::string, State::Place> strings;
  const auto put_entry = [&](const std::string& key, const GgufValue& value) {
    entries.put_string(key);
    put_value(entries, value);
    ++entry_count;
    if (const auto* text = std::get_if<std::string>(&value.value)) {
      const uint64_t offset = kHeaderBytes + entries.bytes().size() - text->size();
      strings[key] = {offset, text->size()};
    }
  };
  for (const auto& [key, value] : metadata) {
    if (!keys.insert(key).second) {
      return invalid_argument(
          fmt::format("{}: metadata {} would appear twice", where, show_name(key)));
    }
    put_entry(key, key == kAlignmentKey ? alignment_value : value);
  }
  if (alignment != kDefaultAlignment && !keys.contains(kAlignmentKey)) {
    put_entry(kAlignmentKey, alignment_value);
  }

  Buffer header;
  header.put(std::array<char, 4>{'G', 'G', 'U', 'F'});
  header.put<uint32_t>(3);
  header.put<uint64_t>(tensors.size());
  header.put(entry_count);
  COLDPRESS_CHECK(header.bytes().size() == kHeaderBytes);
  std::string text = header.bytes() + entries.bytes();

  Buffer descriptions;
  TensorSlots slots(where);
  uint64_t end = 0;  // of the data section so far, aligned
  for (const Declaration& t : tensors) {
    COLDPRESS_ASSIGN_OR_RETURN(const uint64_t size, declared_bytes(t, where));
    COLDPRESS_RETURN_IF_ERROR(slots.declare(t.name, end, size));
    descriptions.put_string(t.name);
    descriptions.put(static_cast<uint32_t>(t.shape.size()));
    for (std::size_t d = t.shape.size(); d-- > 0;) descriptions.put(t.shape[d]);
    descriptions.put(t.ggml_type);
    descriptions.put(end);
    const auto sum = checked_add(end, size);
    const auto next = sum.has_value() ? round_up(*sum, alignment) : std::nullopt;
    if (!next.has_value()) return invalid_argument(where + ": the tensors are too large");
    end = *next;
  }
  text += descriptions.bytes();
  const auto data_start = round_up(text.size(), alignment);
  const auto file_size = data_start.has_value() ? checked_add(*data_start, end) : std::nullopt;
  if (!file_size.has_value()) return invalid_argument(where + ": the tensors are too large");
  slots.move(*data_start);

  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  COLDPRESS_RETURN_IF_ERROR(file.resize(*file_size));
  COLDPRESS_RETURN_IF_ERROR(file.append(text));
  return GgufWriter(
      std::unique_ptr<State>(new State{std::move(slots), std::move(file), std::move(strings)}));
}

Status GgufWriter::write(const std::string& name, std::span<const std::byte> data) {
  return state_->slots.write(name, data, state_->file);
}

Status GgufWriter::set_string(const std::string& key, std::string_view text) {
  const auto found = state_->strings.find(key);
  if (found == state_->strings.end() || found->second.size != text.size()) {
    return invalid_argument(fmt::format("{}: metadata {} is not a string of {} bytes",
                                        state_->slots.where(), show_name(key), text.size()));
  }
  return state_->file.write_at(found->second.offset,
                               std::as_bytes(std::span(text.data(), text.size())));
}

const std::filesystem::path& GgufWriter::work_path() const { return state_->file.work_path(); }

Status GgufWriter::finish() {
  COLDPRESS_RETURN_IF_ERROR(state_->slots.check_complete());
  return state_->file.commit();
}

}  // namespace coldpress
