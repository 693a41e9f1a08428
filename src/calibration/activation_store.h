// Every activation that calibration keeps between stages, once: per window the residual stream and
// the latest tap, in fp32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory.h"
#include "base/status.h"
#include "base/view.h"

namespace coldpress {

class ActivationStore {
 public:
  ActivationStore() = default;  // of no window
  // `widest_tap`: the largest tap width of any block.
  static Result<ActivationStore> create(int64_t windows, int64_t length, int64_t hidden,
                                        int64_t widest_tap, const Memory& memory) {
    ActivationStore store;
    store.length_ = length;
    COLDPRESS_ASSIGN_OR_RETURN(store.residual_, MatrixF::create(windows * length, hidden, memory));
    COLDPRESS_ASSIGN_OR_RETURN(store.taps_, MatrixF::create(windows, length * widest_tap, memory));
    store.is_spilled_ = &memory != &main_memory();
    return store;
  }

  // (length, hidden) of window w.
  View2<float> residual(int64_t w) { return residual_.view().row_range(w * length_, length_); }
  // (length, width) of window w; the tap written last, whose width the caller knows.
  View2<float> tap(int64_t w, int64_t width) { return {taps_.row(w), length_, width}; }

  // Windows are visited in order: window w, with a tap of `width`, is next; and it will be seen
  // again only after all others.
  void before(int64_t w, int64_t width) {
    if (!is_spilled_ || w >= taps_.rows()) return;
    will_need(residual(w).data, bytes(1, length_, residual_.cols(), 0));
    will_need(taps_.row(w), bytes(1, length_, 0, width));
  }
  void after(int64_t w) {
    if (!is_spilled_) return;
    will_not_need(residual(w).data, bytes(1, length_, residual_.cols(), 0));
    will_not_need(taps_.row(w), static_cast<std::size_t>(taps_.cols()) * sizeof(float));
  }

  static std::size_t bytes(int64_t windows, int64_t length, int64_t hidden, int64_t widest_tap) {
    return static_cast<std::size_t>(windows * length * (hidden + widest_tap)) * sizeof(float);
  }

 private:
  int64_t length_ = 0;
  bool is_spilled_ = false;
  MatrixF residual_;
  MatrixF taps_;
};

}  // namespace coldpress
