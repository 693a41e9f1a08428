#include "calibration/overlap.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_set>

#include "base/hash.h"
#include "io/json.h"

namespace coldpress {
namespace {

constexpr std::size_t kSketchSize = 512;
constexpr std::size_t kHexDigits = 16;
// Rules of dashes, padding and the like occur everywhere and say nothing.
constexpr std::size_t kFewestDifferent = 6;

bool says_something(std::span<const int32_t> passage) {
  std::vector<int32_t> sorted(passage.begin(), passage.end());
  std::sort(sorted.begin(), sorted.end());
  const auto end = std::unique(sorted.begin(), sorted.end());
  return static_cast<std::size_t>(end - sorted.begin()) >=
         std::min(kFewestDifferent, passage.size());
}

// Calls `visit` with the hash of each passage of `tokens` that says something.
template <typename F>
void each_passage(std::span<const int32_t> tokens, int64_t passage_tokens, F&& visit) {
  const auto length = static_cast<std::size_t>(passage_tokens);
  for (std::size_t at = 0; at + length <= tokens.size(); ++at) {
    const std::span<const int32_t> passage = tokens.subspan(at, length);
    const uint64_t hash = xxh3_64(std::as_bytes(passage));
    visit(hash, passage);
  }
}

}  // namespace

CalibrationSketch sketch_windows(const CalibrationWindows& windows) {
  std::unordered_set<uint64_t> seen;
  for (int64_t w = 0; w < windows.count(); ++w) {
    each_passage(windows.window(w), kPassageTokens,
                 [&](uint64_t hash, std::span<const int32_t> passage) {
                   if (says_something(passage)) seen.insert(hash);
                 });
  }
  CalibrationSketch sketch;
  sketch.passages = static_cast<int64_t>(seen.size());
  sketch.hashes.assign(seen.begin(), seen.end());
  std::sort(sketch.hashes.begin(), sketch.hashes.end());
  if (sketch.hashes.size() > kSketchSize) sketch.hashes.resize(kSketchSize);
  return sketch;
}

Json sketch_to_json(const CalibrationSketch& sketch) {
  std::string hashes;
  hashes.reserve(sketch.hashes.size() * kHexDigits);
  for (const uint64_t hash : sketch.hashes) hashes += fmt::format("{:016x}", hash);
  return {{"passage_tokens", sketch.passage_tokens},
          {"passages", sketch.passages},
          {"hashes", std::move(hashes)}};
}

Result<CalibrationSketch> sketch_from_json(const Json& json, const std::string& where) {
  const Status wrong = corrupt(where + ": the manifest's sketch of the calibration is damaged");
  const auto count = [&](const char* key) -> int64_t {
    if (!json.is_object() || !json.contains(key)) return -1;
    const Json& value = json[key];
    if (!value.is_number_integer() || value < 0 || value > std::numeric_limits<int32_t>::max()) {
      return -1;
    }
    return value.get<int64_t>();
  };
  CalibrationSketch sketch;
  sketch.passage_tokens = count("passage_tokens");
  sketch.passages = count("passages");
  if (sketch.passage_tokens < 1 || sketch.passages < 0) return wrong;
  if (!json.contains("hashes") || !json["hashes"].is_string()) return wrong;
  const auto& text = json["hashes"].get_ref<const std::string&>();
  if (text.size() % kHexDigits != 0) return wrong;
  const char* at = text.data();
  for (const char* end = at + text.size(); at != end; at += kHexDigits) {
    uint64_t hash = 0;
    const auto read = std::from_chars(at, at + kHexDigits, hash, 16);
    if (read.ec != std::errc() || read.ptr != at + kHexDigits) return wrong;
    if (!sketch.hashes.empty() && hash <= sketch.hashes.back()) return wrong;
    sketch.hashes.push_back(hash);
  }
  if (static_cast<int64_t>(sketch.hashes.size()) > sketch.passages) return wrong;
  return sketch;
}

Overlap find_overlap(const CalibrationSketch& sketch, std::span<const int32_t> text) {
  Overlap overlap;
  overlap.sampled = static_cast<int64_t>(sketch.hashes.size());
  if (sketch.hashes.empty()) return overlap;
  const bool complete = overlap.sampled == sketch.passages;
  const uint64_t threshold = complete ? std::numeric_limits<uint64_t>::max() : sketch.hashes.back();
  std::unordered_set<uint64_t> found;
  int64_t shared = 0;
  int64_t looked_at = 0;
  each_passage(text, sketch.passage_tokens, [&](uint64_t hash, std::span<const int32_t> passage) {
    if (hash > threshold || !says_something(passage)) return;
    ++looked_at;
    if (!std::binary_search(sketch.hashes.begin(), sketch.hashes.end(), hash)) return;
    ++shared;
    found.insert(hash);
  });
  overlap.found = static_cast<int64_t>(found.size());
  overlap.share_of_calibration =
      static_cast<double>(overlap.found) / static_cast<double>(overlap.sampled);
  if (looked_at > 0) {
    overlap.share_of_text = static_cast<double>(shared) / static_cast<double>(looked_at);
  }
  return overlap;
}

}  // namespace coldpress
