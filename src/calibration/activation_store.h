// Every activation that calibration keeps between stages, once: per window the residual stream, in
// fp32, and the latest tap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memory.h"
#include "base/status.h"
#include "base/view.h"

namespace coldpress {

// What the values of a tap are kept in.
enum class TapType {
  kHalf,    // 16 bits (calibration/half_row.h): solvers see no difference
  kSingle,  // fp32
};

class ActivationStore {
 public:
  ActivationStore() = default;  // of no window
  // `widest_tap`: the largest tap width of any block.
  static Result<ActivationStore> create(int64_t windows, int64_t length, int64_t hidden,
                                        int64_t widest_tap, TapType type, const Memory& memory);

  // (length, hidden) of window w.
  View2<float> residual(int64_t w) { return residual_.view().row_range(w * length_, length_); }

  // The tap of window w, (length, width); the one written last, whose width the caller knows.
  void put_tap(int64_t w, View2<const float> tap);
  void get_tap(int64_t w, View2<float> tap) const;
  // `count` values of its row `token`, from `first` on.
  void get_row(int64_t w, int64_t width, int64_t token, int64_t first, int64_t count,
               float* row) const;

  // Windows are visited in order: window w, with a tap of `width`, is next; and it will be seen
  // again only after all others.
  void before(int64_t w, int64_t width);
  void after(int64_t w);

  // With taps in 16 bits.
  static int64_t bytes(int64_t windows, int64_t length, int64_t hidden, int64_t widest_tap);

 private:
  std::size_t row_at(int64_t w, int64_t token) const {
    return static_cast<std::size_t>(w * length_ + token);
  }

  int64_t length_ = 0;
  bool is_spilled_ = false;
  MatrixF residual_;
  Matrix<uint16_t> taps_;       // a window each, or no rows
  std::vector<int32_t> bases_;  // of each row of taps_
  MatrixF single_taps_;         // in place of both
};

}  // namespace coldpress
