#include "io/gguf_split.h"

#include <fmt/format.h>

#include <limits>
#include <unordered_map>
#include <utility>

#include "io/show_name.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

constexpr char kNumber[] = "split.no";
constexpr char kCount[] = "split.count";
constexpr char kTensors[] = "split.tensors.count";

std::string suffix_of(int64_t number, int64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

Result<int64_t> split_key(const GgufContent& content, const char* key, int64_t most,
                          const std::string& where) {
  const GgufValue* value = content.find(key);
  const auto number = value == nullptr ? std::nullopt : value->as_int();
  if (!number || value->type == GgufType::kBool || *number < 0 || *number > most) {
    return corrupt(
        fmt::format("{}: {} is not a whole number from 0 to {}, so this part of a split model "
                    "cannot be placed",
                    where, key, most));
  }
  return *number;
}

}  // namespace

Result<std::optional<SplitPlace>> split_place(const GgufContent& content,
                                              const std::string& where) {
  if (content.find(kCount) == nullptr) return std::optional<SplitPlace>();
  SplitPlace place;
  COLDPRESS_ASSIGN_OR_RETURN(place.count, split_key(content, kCount, kMostSplits, where));
  if (place.count < 2) return std::optional<SplitPlace>();
  COLDPRESS_ASSIGN_OR_RETURN(place.number, split_key(content, kNumber, kMostSplits, where));
  COLDPRESS_ASSIGN_OR_RETURN(
      place.tensors, split_key(content, kTensors, std::numeric_limits<int32_t>::max(), where));
  if (place.number >= place.count) {
    return corrupt(fmt::format("{}: split.no is {}, but split.count only {}", where, place.number,
                               place.count));
  }
  return std::optional<SplitPlace>(place);
}

fs::path split_path(fs::path whole, int64_t number, int64_t count) {
  if (whole.extension() == ".gguf") whole.replace_extension();
  whole += suffix_of(number, count);
  return whole;
}

Result<fs::path> sibling_split(const fs::path& path, const SplitPlace& place, int64_t number) {
  const std::string suffix = suffix_of(place.number, place.count);
  std::string name = path.filename().string();
  if (!name.ends_with(suffix)) {
    return invalid_argument(
        fmt::format("{}: this is part {} of {} of a split model, so its name must end with {} for "
                    "the others to be found",
                    path.string(), place.number + 1, place.count, suffix));
  }
  name.resize(name.size() - suffix.size());
  return path.parent_path() / (name + suffix_of(number, place.count));
}

Result<GgufContent> merge_splits(std::vector<GgufContent> files,
                                 const std::vector<std::string>& names) {
  COLDPRESS_CHECK(!files.empty() && files.size() == names.size());
  GgufContent whole;
  whole.version = files.front().version;
  whole.alignment = files.front().alignment;
  whole.metadata = files.front().metadata;
  erase_split_keys(whole.metadata);
  std::unordered_map<std::string, std::size_t> file_of;
  int64_t tensors = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    COLDPRESS_ASSIGN_OR_RETURN(const auto place, split_place(files[i], names[i]));
    const auto count = static_cast<int64_t>(files.size());
    if (!place || place->count != count || place->number != static_cast<int64_t>(i)) {
      return corrupt(fmt::format("{}: says that it is {}, but stands as part {} of {}", names[i],
                                 place
                                     ? fmt::format("part {} of {}", place->number + 1, place->count)
                                     : "no part of a split model",
                                 i + 1, count));
    }
    if (i == 0) tensors = place->tensors;
    if (place->tensors != tensors) {
      return corrupt(fmt::format("{}: says that the model has {} tensors, but {} says {}", names[i],
                                 place->tensors, names[0], tensors));
    }
    for (GgufTensor& t : files[i].tensors) {
      const auto [other, is_new] = file_of.emplace(t.name, i);
      if (!is_new) {
        return corrupt(fmt::format("{}: tensor {} is in {} too", names[i], show_name(t.name),
                                   names[other->second]));
      }
      whole.tensors.push_back(std::move(t));
    }
  }
  if (static_cast<int64_t>(whole.tensors.size()) != tensors) {
    return corrupt(fmt::format("{}: says that the model has {} tensors, but its {} parts hold {}",
                               names[0], tensors, files.size(), whole.tensors.size()));
  }
  return whole;
}

void put_split_keys(const SplitPlace& place,
                    std::vector<std::pair<std::string, GgufValue>>& metadata) {
  // The widths that llama.cpp reads.
  metadata.emplace_back(kNumber, GgufValue{GgufType::kU16, place.number});
  metadata.emplace_back(kCount, GgufValue{GgufType::kU16, place.count});
  metadata.emplace_back(kTensors, GgufValue::i32(static_cast<int32_t>(place.tensors)));
}

void erase_split_keys(std::vector<std::pair<std::string, GgufValue>>& metadata) {
  std::erase_if(metadata, [](const auto& entry) {
    return entry.first == kNumber || entry.first == kCount || entry.first == kTensors;
  });
}

}  // namespace coldpress
