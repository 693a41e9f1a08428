#include "calibration/sources.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "calibration/plain_text.h"
#include "calibration/records.h"
#include "io/file.h"

namespace coldpress {
namespace {

// A weight after the last colon; a part without one is a name as a whole.
Status split_weight(std::string_view part, CalibrationSource* source) {
  source->name = part;
  const std::size_t colon = part.rfind(':');
  if (colon == std::string_view::npos) return {};
  const std::string_view number = part.substr(colon + 1);
  double weight = 0;
  const auto read = std::from_chars(number.data(), number.data() + number.size(), weight);
  if (read.ec != std::errc() || read.ptr != number.data() + number.size()) return {};
  if (!(weight > 0) || !std::isfinite(weight)) {
    return invalid_argument(fmt::format("the calibration weight in '{}' is not above 0", part));
  }
  source->name = part.substr(0, colon);
  source->weight = weight;
  return {};
}

bool is_jsonl(const std::filesystem::path& path) {
  const std::string suffix = path.extension().string();
  return suffix == ".jsonl" || suffix == ".ndjson" || suffix == ".json";
}

Status add_text(std::string_view text, const Tokenizer& tokenizer, std::vector<int32_t>* stream) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(text, true));
  stream->insert(stream->end(), ids.begin(), ids.end());
  return {};
}

Status add_record(Record record, const Tokenizer& tokenizer, const std::string& where,
                  std::vector<int32_t>* stream) {
  switch (record.kind) {
    case Record::Kind::kText:
      COLDPRESS_RETURN_IF_ERROR(add_text(record.text, tokenizer, stream));
      if (const auto eos = tokenizer.eos()) stream->push_back(*eos);
      return {};
    case Record::Kind::kChat: {
      auto text = render_chat(tokenizer.chat_template(), record.chat);
      if (!text.ok()) return text.status().with_context(where);
      return add_text(*text, tokenizer, stream);
    }
    case Record::Kind::kTokens:
      for (const int32_t id : record.tokens) {
        if (id >= tokenizer.vocab_size()) {
          return invalid_argument(fmt::format("{}: token id {}, but the model has {} tokens", where,
                                              id, tokenizer.vocab_size()));
        }
      }
      stream->insert(stream->end(), record.tokens.begin(), record.tokens.end());
      return {};
  }
  return {};
}

// Reads no more than `enough` tokens need. `kind` tells what the lines held.
Status read_jsonl(std::string_view bytes, const std::string& path, const Tokenizer& tokenizer,
                  std::size_t enough, std::string* kind, std::vector<int32_t>* stream) {
  RecordReader reader(bytes, path);
  std::set<std::string_view> kinds;
  while (stream->size() < enough) {
    COLDPRESS_ASSIGN_OR_RETURN(std::optional<Record> record, reader.next());
    if (!record) break;
    kinds.insert(kind_name(record->kind));
    const std::string where = fmt::format("{}: line {}", path, record->line);
    COLDPRESS_RETURN_IF_ERROR(add_record(std::move(*record), tokenizer, where, stream));
  }
  *kind = fmt::format("{}", fmt::join(kinds, "+"));
  return {};
}

}  // namespace

Result<std::vector<CalibrationSource>> parse_calibration_sources(
    const std::string& text,
    const std::function<Result<std::filesystem::path>(const std::string&)>& find) {
  std::error_code ignored;
  if (std::filesystem::exists(text, ignored)) {
    return std::vector<CalibrationSource>{{text, text, 1}};
  }
  std::vector<CalibrationSource> sources;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    CalibrationSource source;
    COLDPRESS_RETURN_IF_ERROR(split_weight(rest.substr(0, comma), &source));
    if (more) rest.remove_prefix(comma + 1);
    COLDPRESS_ASSIGN_OR_RETURN(source.path, find(source.name));
    sources.push_back(std::move(source));
  }
  return sources;
}

Result<CalibrationWindows> read_calibration(const std::vector<CalibrationSource>& sources,
                                            const CalibrationRequest& request,
                                            const Tokenizer& tokenizer) {
  std::vector<double> weights;
  for (const CalibrationSource& source : sources) weights.push_back(source.weight);
  const std::vector<int64_t> shares = share_windows(weights, request.samples);
  CalibrationWindows windows;
  windows.length = request.length;
  windows.seed = request.seed;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const CalibrationSource& source = sources[i];
    const std::string path = source.path.string();
    if (shares[i] == 0 && request.samples > 0) {
      return invalid_argument(
          fmt::format("the weight of '{}' is too small to give it one of {} windows; raise "
                      "--samples or the weight",
                      source.name, request.samples));
    }
    COLDPRESS_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(source.path));
    const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                                 file.bytes().size());
    std::string kind = "text";
    std::vector<int32_t> stream;
    if (is_jsonl(source.path)) {
      const std::size_t enough =
          request.seed ? SIZE_MAX : static_cast<std::size_t>(shares[i] * request.length);
      COLDPRESS_RETURN_IF_ERROR(read_jsonl(bytes, path, tokenizer, enough, &kind, &stream));
    } else {
      COLDPRESS_RETURN_IF_ERROR(check_plain_text(bytes, path));
      COLDPRESS_RETURN_IF_ERROR(add_text(bytes, tokenizer, &stream).with_context(path));
    }
    auto cut = cut_windows(stream, shares[i], request.length, request.seed, i);
    if (!cut.ok()) return cut.status().with_context(path);
    windows.tokens.insert(windows.tokens.end(), cut->begin(), cut->end());
    windows.sources.push_back({source.name, kind, xxh3_128_hex(bytes), source.weight, shares[i]});
  }
  return windows;
}

}  // namespace coldpress
