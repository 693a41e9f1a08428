#include "io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "io/json.h"
#include "io/show_name.h"
#include "io/tensor_slots.h"

namespace coldpress {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // as the reference implementation
constexpr auto kLargestDim = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<uint64_t> tensor_bytes(DType type, const std::vector<int64_t>& shape) {
  auto size = std::optional<uint64_t>(static_cast<uint64_t>(dtype_size(type)));
  for (const int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    size = checked_mul(*size, static_cast<uint64_t>(dim));
    if (!size.has_value()) return std::nullopt;
  }
  return size;
}

// A JSON number that is a plain non-negative integer.
std::optional<uint64_t> as_size(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<uint64_t>();
}

struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
};

Result<Range> parse_offsets(const Json& entry, const std::string& where) {
  const auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2) {
    return corrupt(where + " has no data_offsets pair");
  }
  const auto begin = as_size((*offsets)[0]);
  const auto end = as_size((*offsets)[1]);
  if (!begin.has_value() || !end.has_value() || *begin > *end) {
    return corrupt(where + " has data_offsets that are not an increasing pair of integers");
  }
  return Range{*begin, *end};
}

Result<std::vector<int64_t>> parse_shape(const Json& entry, const std::string& where) {
  const auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array()) return corrupt(where + " has no shape");
  std::vector<int64_t> dims;
  dims.reserve(shape->size());
  for (const Json& dim : *shape) {
    const auto size = as_size(dim);
    if (!size.has_value() || *size > kLargestDim) {
      return corrupt(where + " has a shape that is not a list of sizes");
    }
    dims.push_back(static_cast<int64_t>(*size));
  }
  return dims;
}

// One entry of the header. `where` names file and tensor.
Result<std::pair<SafetensorsInfo, Range>> parse_entry(const std::string& name, const Json& entry,
                                                      std::span<const std::byte> data,
                                                      const std::string& where) {
  if (!entry.is_object()) return corrupt(where + " is not described by a JSON object");
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) return corrupt(where + " has no dtype");
  const auto type = dtype_from_name(dtype->get_ref<const std::string&>());
  if (!type.has_value()) {
    return unsupported(fmt::format("{} has the unknown dtype {}", where,
                                   show_name(dtype->get_ref<const std::string&>())));
  }
  SafetensorsInfo info;
  info.name = name;
  info.dtype = *type;
  COLDPRESS_ASSIGN_OR_RETURN(info.shape, parse_shape(entry, where));
  COLDPRESS_ASSIGN_OR_RETURN(const Range range, parse_offsets(entry, where));
  if (range.end > data.size()) {
    return corrupt(
        fmt::format("{} ends at byte {} of the data, but the file has only {}; it is "
                    "truncated or damaged, fetch it again",
                    where, range.end, data.size()));
  }
  const auto size = tensor_bytes(*type, info.shape);
  if (!size.has_value()) return corrupt(where + " has a shape too large to exist");
  if (*size != range.end - range.begin) {
    return corrupt(
        fmt::format("{} needs {} bytes for its shape and dtype, but its data_offsets "
                    "hold {}",
                    where, *size, range.end - range.begin));
  }
  info.data = data.subspan(range.begin, range.end - range.begin);
  return std::pair(std::move(info), range);
}

Status parse_metadata(const Json& entry, std::map<std::string, std::string>& metadata,
                      const std::string& where) {
  if (!entry.is_object()) return corrupt(where + ": __metadata__ is not a JSON object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      return corrupt(
          fmt::format("{}: __metadata__ entry {} is not a string", where, show_name(key)));
    }
    metadata.emplace(key, value.get_ref<const std::string&>());
  }
  return {};
}

}  // namespace

Result<SafetensorsContent> parse_safetensors(std::span<const std::byte> bytes,
                                             const std::string& where) {
  if (bytes.size() < kLengthBytes) {
    return corrupt(where + ": too short for a safetensors file");
  }
  uint64_t header_length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    header_length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  if (header_length > bytes.size() - kLengthBytes) {
    return corrupt(
        fmt::format("{}: the header should be {} bytes long, but the file has only {}; it "
                    "is not a safetensors file, or truncated",
                    where, header_length, bytes.size()));
  }
  if (header_length > kLongestHeader) {
    return corrupt(fmt::format("{}: the header is {} bytes long, more than the {} allowed", where,
                               header_length, kLongestHeader));
  }
  const auto header_bytes = bytes.subspan(kLengthBytes, header_length);
  const auto data = bytes.subspan(kLengthBytes + header_length);
  COLDPRESS_ASSIGN_OR_RETURN(const Json header, parse_json(as_text(header_bytes), where));
  if (!header.is_object()) return corrupt(where + ": the header is not a JSON object");

  SafetensorsContent content;
  std::vector<std::pair<SafetensorsInfo, Range>> entries;
  entries.reserve(header.size());
  // Keys are unique: parse_json refuses an object that names one twice.
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      COLDPRESS_RETURN_IF_ERROR(parse_metadata(entry, content.metadata, where));
      continue;
    }
    COLDPRESS_ASSIGN_OR_RETURN(
        auto parsed,
        parse_entry(name, entry, data, fmt::format("{}: tensor {}", where, show_name(name))));
    entries.push_back(std::move(parsed));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second.begin, a.second.end) < std::pair(b.second.begin, b.second.end);
  });
  uint64_t end = 0;
  for (auto& [info, range] : entries) {
    if (range.begin != end) {
      return corrupt(fmt::format(
          "{}: tensor {} {}", where, show_name(info.name),
          range.begin < end ? "overlaps the one before it" : "leaves unused bytes before it"));
    }
    end = range.end;
    content.tensors.push_back(std::move(info));
  }
  if (end != data.size()) {
    return corrupt(fmt::format("{}: {} bytes after the last tensor belong to nothing", where,
                               data.size() - end));
  }
  return content;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  COLDPRESS_ASSIGN_OR_RETURN(SafetensorsContent content,
                             parse_safetensors(file.bytes(), path.string()));
  return SafetensorsFile(std::move(file), std::move(content));
}

const SafetensorsInfo* SafetensorsFile::find(const std::string& name) const {
  for (const SafetensorsInfo& info : content_.tensors) {
    if (info.name == name) return &info;
  }
  return nullptr;
}

struct SafetensorsWriter::State {
  TensorSlots slots;
  AtomicFile file;
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::filesystem::path& path, std::vector<Declaration> tensors,
    const std::map<std::string, std::string>& metadata) {
  const std::string where = path.string();
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  // Appended directly: looking each key up again would take quadratic time.
  auto& members = static_cast<Json::object_t::Container&>(header.get_ref<Json::object_t&>());
  TensorSlots slots(where);
  uint64_t end = 0;
  for (const Declaration& t : tensors) {
    const auto size = tensor_bytes(t.dtype, t.shape);
    const auto next = size.has_value() ? checked_add(end, *size) : std::nullopt;
    if (!next.has_value()) {
      return invalid_argument(
          fmt::format("{}: tensor {} has an impossible shape", where, show_name(t.name)));
    }
    if (t.name == "__metadata__") {
      return invalid_argument(
          fmt::format("{}: tensor {} would appear twice", where, show_name(t.name)));
    }
    COLDPRESS_RETURN_IF_ERROR(slots.declare(t.name, end, *size));
    Json entry = Json::object();
    entry["dtype"] = std::string(dtype_name(t.dtype));
    entry["shape"] = t.shape;
    entry["data_offsets"] = {end, *next};
    members.emplace_back(t.name, std::move(entry));
    end = *next;
  }

  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return invalid_argument(where + ": a tensor name or metadata entry is not valid UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kLongestHeader) {
    return invalid_argument(where + ": too many tensors for one safetensors file");
  }
  const uint64_t data_start = kLengthBytes + text.size();
  const auto file_size = checked_add(data_start, end);
  if (!file_size.has_value()) return invalid_argument(where + ": the tensors are too large");
  slots.move(data_start);

  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  COLDPRESS_RETURN_IF_ERROR(file.resize(*file_size));
  std::string length(kLengthBytes, '\0');
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xff);
  }
  COLDPRESS_RETURN_IF_ERROR(file.append(length));
  COLDPRESS_RETURN_IF_ERROR(file.append(text));
  return SafetensorsWriter(std::unique_ptr<State>(new State{std::move(slots), std::move(file)}));
}

Status SafetensorsWriter::write(const std::string& name, std::span<const std::byte> data) {
  return state_->slots.write(name, data, state_->file);
}

Status SafetensorsWriter::finish() {
  COLDPRESS_RETURN_IF_ERROR(state_->slots.check_complete());
  return state_->file.commit();
}

}  // namespace coldpress
