// Whether a text shares passages with the windows a model was calibrated on, told from hashes: the
// manifest keeps a sketch of the windows, not the windows.
//
// A passage is kPassageTokens consecutive tokens inside one window. The sketch holds the smallest
// hashes of all passages, which is a uniform sample of them; a text that contains x % of the
// calibration contains about x % of the sample.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "calibration/windows.h"
#include "io/json_type.h"

namespace coldpress {

inline constexpr int64_t kPassageTokens = 20;  // about 15 words

struct CalibrationSketch {
  int64_t passage_tokens = kPassageTokens;
  int64_t passages = 0;          // different ones in the windows
  std::vector<uint64_t> hashes;  // ascending: the smallest of theirs
};

CalibrationSketch sketch_windows(const CalibrationWindows& windows);

Json sketch_to_json(const CalibrationSketch& sketch);
// `where` names the manifest.
Result<CalibrationSketch> sketch_from_json(const Json& json, const std::string& where);

struct Overlap {
  int64_t sampled = 0;              // passages of the calibration that were looked for
  int64_t found = 0;                // those that the text contains
  double share_of_calibration = 0;  // found / sampled
  double share_of_text = 0;         // of the text's passages, estimated from the same sample
};

// `text` must be tokenised by the tokenizer of the calibrated model.
Overlap find_overlap(const CalibrationSketch& sketch, std::span<const int32_t> text);

}  // namespace coldpress
