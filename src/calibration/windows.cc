#include "calibration/windows.h"

#include <fmt/format.h>

namespace coldpress {

Result<CalibrationWindows> cut_windows(std::span<const int32_t> stream, int64_t samples,
                                       int64_t length) {
  if (samples < 1 || length < 2) {
    return invalid_argument(fmt::format(
        "calibration needs at least 1 window of 2 tokens, not {} of {}", samples, length));
  }
  const int64_t available = static_cast<int64_t>(stream.size()) / length;
  if (available < samples) {
    return invalid_argument(
        fmt::format("the calibration text has {} tokens: {} windows of {}, not {}; give a longer "
                    "text or lower --samples or --seqlen",
                    stream.size(), available, length, samples));
  }
  CalibrationWindows w;
  w.length = length;
  w.tokens.assign(stream.begin(), stream.begin() + samples * length);
  return w;
}

}  // namespace coldpress
