// Calibration files of one JSON object per line (JSONL): texts, chats or token ids.
//
// Not for choosing or cutting anything: that is calibration/sources.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/json.h"

namespace coldpress {

struct Record {
  enum class Kind { kText, kChat, kTokens };
  Kind kind = Kind::kText;
  std::string text;  // kText: {"text": "..."}
  Json chat;         // kChat: {"messages": [{"role": ..., "content": ...}], "tools": ...}
  std::vector<int32_t> tokens;  // kTokens: {"tokens": [...]} or {"input_ids": [...]}, all >= 0
  int64_t line = 0;             // from 1
};
std::string_view kind_name(Record::Kind kind);

// The object on one line; other keys of it are ignored. `where` names the place in errors.
Result<Record> parse_record(std::string_view line, const std::string& where);

// Reads line after line; lines may differ in kind, empty ones are skipped. `bytes` must outlive it.
class RecordReader {
 public:
  RecordReader(std::string_view bytes, std::string path);

  // Nothing at the end. An error names the path and the line.
  Result<std::optional<Record>> next();

 private:
  std::string_view rest_;
  std::string path_;
  int64_t line_ = 0;
};

}  // namespace coldpress
