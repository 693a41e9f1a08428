// From what the user named (`--calibration`) to calibration windows: plain texts and JSONL files
// (calibration/records.h), alone or mixed by weight.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "calibration/windows.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {

struct CalibrationSource {
  std::string name;            // as given
  std::filesystem::path path;  // the file behind it
  double weight = 1;
};

// "NAME" or "NAME:WEIGHT,NAME:WEIGHT,..."; a weight left out is 1. `find` turns a name into a path.
Result<std::vector<CalibrationSource>> parse_calibration_sources(
    const std::string& text,
    const std::function<Result<std::filesystem::path>(const std::string&)>& find);

struct CalibrationRequest {
  int64_t samples = 0;
  int64_t length = 0;
  std::optional<uint64_t> seed;  // none: the first windows of each source
};

// A file named *.jsonl (or .json, .ndjson) is read as JSONL; any other is one plain text, tokenised
// whole. JSONL documents are tokenised one by one and packed end to end: between two texts stands
// the model's EOS token, where it has one; chats are written by the model's own template; ids are
// taken as they are.
Result<CalibrationWindows> read_calibration(const std::vector<CalibrationSource>& sources,
                                            const CalibrationRequest& request,
                                            const Tokenizer& tokenizer);

}  // namespace coldpress
