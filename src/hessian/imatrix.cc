#include "hessian/imatrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "io/ggml_codec.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";
constexpr char kTypeKey[] = "general.type";
constexpr char kType[] = "imatrix";
constexpr char kDatasetsKey[] = "imatrix.datasets";
constexpr char kChunksKey[] = "imatrix.chunk_count";
constexpr char kChunkSizeKey[] = "imatrix.chunk_size";
constexpr int64_t kMostChunks = 1 << 20;  // and tokens in one
constexpr float kLargestCount = 0x1p40F;  // rows; fp32 counts are exact to 2^24 only

struct Pair {
  const GgufTensor* sums = nullptr;
  const GgufTensor* counts = nullptr;
};

// The values of an F32 tensor, all finite and none negative; a sentence otherwise.
Result<std::vector<float>> numbers(const GgufTensor& tensor, const std::string& where) {
  const std::string what = fmt::format("{}: {}", where, show_name(tensor.name));
  if (tensor.ggml_type != kGgmlF32) return corrupt(what + " is not F32");
  std::vector<float> values(tensor.data.size() / sizeof(float));
  if (values.empty()) return corrupt(what + " is empty");
  COLDPRESS_CHECK(decode_ggml(kGgmlF32, tensor.data, static_cast<int64_t>(values.size()), values));
  for (const float v : values) {
    if (!(v >= 0) || !std::isfinite(v)) {
      return corrupt(fmt::format("{} holds {}, which no sum of squares is", what, v));
    }
  }
  return values;
}

Result<ImatrixEntry> entry_of(const std::string& name, const Pair& pair, const std::string& where) {
  const std::string what = fmt::format("{}: {}", where, show_name(name));
  if (pair.sums == nullptr) return corrupt(fmt::format("{} has counts without sums", what));
  if (pair.counts == nullptr) return corrupt(fmt::format("{} has sums without counts", what));
  ImatrixEntry entry;
  entry.tensor = name;
  COLDPRESS_ASSIGN_OR_RETURN(entry.sums, numbers(*pair.sums, where));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<float> counts, numbers(*pair.counts, where));
  for (const float count : counts) {
    if (count > kLargestCount) return corrupt(fmt::format("{} counts {} rows", what, count));
    entry.counts.push_back(std::llround(count));
  }
  entry.columns = pair.sums->shape.empty() ? 1 : pair.sums->shape.back();
  if (counts.size() != 1 && static_cast<int64_t>(counts.size()) != entry.matrices()) {
    return corrupt(
        fmt::format("{} has {} counts for {} matrices", what, counts.size(), entry.matrices()));
  }
  return entry;
}

Result<int64_t> count_of(const GgufContent& content, const std::string& key,
                         const std::string& where) {
  const GgufValue* value = content.find(key);
  if (value == nullptr) return int64_t{0};
  const auto count = value->as_int();
  if (!count || *count < 0 || *count > kMostChunks) {
    return corrupt(fmt::format("{}: {} is no count of tokens or windows", where, key));
  }
  return *count;
}

std::span<const std::byte> bytes_of(const std::vector<float>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

const ImatrixEntry* Imatrix::find(const std::string& tensor) const {
  for (const ImatrixEntry& entry : entries) {
    if (entry.tensor == tensor) return &entry;
  }
  return nullptr;
}

Result<Imatrix> parse_imatrix(const GgufContent& content, const std::string& where) {
  const GgufValue* type = content.find(kTypeKey);
  if (type == nullptr || type->as_string() != kType) {
    return corrupt(fmt::format("{} is no imatrix: its {} does not say so", where, kTypeKey));
  }
  std::map<std::string, Pair> pairs;
  for (const GgufTensor& tensor : content.tensors) {
    const std::string_view name = tensor.name;
    if (name.ends_with(kSums)) {
      pairs[std::string(name.substr(0, name.size() - kSums.size()))].sums = &tensor;
    } else if (name.ends_with(kCounts)) {
      pairs[std::string(name.substr(0, name.size() - kCounts.size()))].counts = &tensor;
    }
  }
  if (pairs.empty()) return corrupt(where + " is an imatrix of no tensor");
  Imatrix imatrix;
  for (const auto& [name, pair] : pairs) {
    COLDPRESS_ASSIGN_OR_RETURN(ImatrixEntry entry, entry_of(name, pair, where));
    imatrix.entries.push_back(std::move(entry));
  }
  if (const GgufValue* datasets = content.find(kDatasetsKey)) {
    imatrix.datasets = datasets->as_strings().value_or(std::vector<std::string>());
  }
  COLDPRESS_ASSIGN_OR_RETURN(imatrix.chunks, count_of(content, kChunksKey, where));
  COLDPRESS_ASSIGN_OR_RETURN(imatrix.chunk_size, count_of(content, kChunkSizeKey, where));
  return imatrix;
}

Result<Imatrix> read_imatrix(const std::filesystem::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::open(path));
  return parse_imatrix(file.content(), path.string());
}

Status write_imatrix(const std::filesystem::path& path, const Imatrix& imatrix) {
  std::vector<const ImatrixEntry*> sorted;
  for (const ImatrixEntry& entry : imatrix.entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* a, const auto* b) { return a->tensor < b->tensor; });
  std::vector<GgufWriter::Declaration> declared;
  for (const ImatrixEntry* entry : sorted) {
    const auto counts = static_cast<int64_t>(entry->counts.size());
    declared.push_back(
        {entry->tensor + std::string(kSums), {entry->matrices(), entry->columns}, kGgmlF32});
    declared.push_back({entry->tensor + std::string(kCounts), {counts, 1}, kGgmlF32});
  }
  COLDPRESS_ASSIGN_OR_RETURN(
      GgufWriter writer,
      GgufWriter::create(
          path,
          {{kTypeKey, GgufValue::string(kType)},
           {kDatasetsKey, GgufValue::strings(imatrix.datasets)},
           {kChunksKey, GgufValue::u32(static_cast<uint32_t>(imatrix.chunks))},
           {kChunkSizeKey, GgufValue::u32(static_cast<uint32_t>(imatrix.chunk_size))}},
          std::move(declared)));
  for (const ImatrixEntry* entry : sorted) {
    const std::vector<float> counts(entry->counts.begin(), entry->counts.end());
    COLDPRESS_RETURN_IF_ERROR(
        writer.write(entry->tensor + std::string(kSums), bytes_of(entry->sums)));
    COLDPRESS_RETURN_IF_ERROR(writer.write(entry->tensor + std::string(kCounts), bytes_of(counts)));
  }
  return writer.finish();
}

}  // namespace coldpress
