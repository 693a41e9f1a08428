// Calibration windows: equal, packed stretches of one token stream, without padding.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace coldpress {

struct CalibrationWindows {
  int64_t length = 0;           // tokens per window
  std::vector<int32_t> tokens;  // count() * length
  std::string text_hash;        // of the text they came from, for the manifest
  std::string source;           // its name, for the manifest

  int64_t count() const { return length == 0 ? 0 : static_cast<int64_t>(tokens.size()) / length; }
  std::span<const int32_t> window(int64_t w) const {
    return {tokens.data() + w * length, static_cast<std::size_t>(length)};
  }
};

// The first `samples` windows of `length` tokens of a stream that was tokenised whole. Fewer tokens
// than that is an error that says how many windows there are.
Result<CalibrationWindows> cut_windows(std::span<const int32_t> stream, int64_t samples,
                                       int64_t length);

}  // namespace coldpress
