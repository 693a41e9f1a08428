// What tests of whole runs on tiny checkpoints start from.
#pragma once

#include <cstdint>
#include <string>

#include "base/rng.h"
#include "calibration/windows.h"

namespace coldpress::test {

inline std::string tiny(const std::string& family) {
  return std::string(COLDPRESS_SHARED_DATA) + "/tiny/" + family;
}

// Token ids from `first` on, below first + range.
inline CalibrationWindows random_windows(int64_t count, int64_t length, int32_t first = 3,
                                         uint64_t range = 500) {
  Rng rng(5);
  CalibrationWindows w;
  w.length = length;
  for (int64_t k = 0; k < count * length; ++k) {
    w.tokens.push_back(first + static_cast<int32_t>(rng.below(range)));
  }
  return w;
}

}  // namespace coldpress::test
