// Every activation that calibration keeps between stages, once: per window the residual stream and
// the latest tap, in fp32.
#pragma once

#include <cstdint>

#include "base/view.h"

namespace coldpress {

class ActivationStore {
 public:
  ActivationStore() = default;  // of no window
  // `widest_tap`: the largest tap width of any block.
  ActivationStore(int64_t windows, int64_t length, int64_t hidden, int64_t widest_tap)
      : length_(length), residual_(windows * length, hidden), taps_(windows, length * widest_tap) {}

  // (length, hidden) of window w.
  View2<float> residual(int64_t w) { return residual_.view().row_range(w * length_, length_); }
  // (length, width) of window w; the tap written last, whose width the caller knows.
  View2<float> tap(int64_t w, int64_t width) { return {taps_.row(w), length_, width}; }

  static int64_t bytes(int64_t windows, int64_t length, int64_t hidden, int64_t widest_tap) {
    return windows * length * (hidden + widest_tap) * static_cast<int64_t>(sizeof(float));
  }

 private:
  int64_t length_ = 0;
  MatrixF residual_;
  MatrixF taps_;
};

}  // namespace coldpress
