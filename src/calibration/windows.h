// Calibration windows: equal, packed stretches of token streams, without padding.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// Where some of the windows came from, for the manifest.
struct WindowSource {
  std::string name;       // as the user gave it
  std::string kind;       // "text", "texts", "chats", "tokens", or several with "+"
  std::string text_hash;  // of the file's bytes
  double weight = 1;
  int64_t windows = 0;
};

struct CalibrationWindows {
  int64_t length = 0;                 // tokens per window
  std::vector<int32_t> tokens;        // count() * length, source after source
  std::vector<WindowSource> sources;  // in the order of their windows
  std::optional<uint64_t> seed;       // of the choice; none: the first windows of each source

  int64_t count() const { return length == 0 ? 0 : static_cast<int64_t>(tokens.size()) / length; }
  std::span<const int32_t> window(int64_t w) const {
    return {tokens.data() + w * length, static_cast<std::size_t>(length)};
  }
};

// Which of `available` windows to take, ascending: the first ones, or with a seed any, each subset
// equally likely. `stream` tells sources of one seed apart. Needs count <= available.
std::vector<int64_t> choose_windows(int64_t available, int64_t count, std::optional<uint64_t> seed,
                                    uint64_t stream);

// `samples` windows of `length` tokens of one stream. Fewer tokens than that is an error that says
// how many windows there are.
Result<std::vector<int32_t>> cut_windows(std::span<const int32_t> tokens, int64_t samples,
                                         int64_t length, std::optional<uint64_t> seed = {},
                                         uint64_t stream = 0);

// How `samples` windows are divided by the weights: each source gets its share, rounded so that the
// sum is right (largest remainders first, earlier sources first among equals).
std::vector<int64_t> share_windows(std::span<const double> weights, int64_t samples);

// The manifest's "calibration": sources, windows, and the sketch for calibration/overlap.h.
Json calibration_to_json(const CalibrationWindows& windows);

}  // namespace coldpress
