#include "calibration/activation_store.h"

#include <algorithm>

#include "base/check.h"
#include "calibration/half_row.h"

namespace coldpress {
namespace {

std::size_t byte_count(int64_t values, std::size_t each) {
  return static_cast<std::size_t>(values) * each;
}

}  // namespace

Result<ActivationStore> ActivationStore::create(int64_t windows, int64_t length, int64_t hidden,
                                                int64_t widest_tap, TapType type,
                                                const Memory& memory) {
  ActivationStore store;
  store.length_ = length;
  store.is_spilled_ = &memory != &main_memory();
  COLDPRESS_ASSIGN_OR_RETURN(store.residual_, MatrixF::create(windows * length, hidden, memory));
  const int64_t values = length * widest_tap;
  if (type == TapType::kSingle) {
    COLDPRESS_ASSIGN_OR_RETURN(store.single_taps_, MatrixF::create(windows, values, memory));
    return store;
  }
  COLDPRESS_ASSIGN_OR_RETURN(store.taps_, Matrix<uint16_t>::create(windows, values, memory));
  store.bases_.resize(static_cast<std::size_t>(windows * length));
  return store;
}

void ActivationStore::put_tap(int64_t w, View2<const float> tap) {
  COLDPRESS_CHECK(tap.rows == length_);
  for (int64_t t = 0; t < length_; ++t) {
    const int64_t at = t * tap.cols;
    if (single_taps_.rows() > 0) {
      std::copy_n(tap.row(t), tap.cols, single_taps_.row(w) + at);
    } else {
      bases_[row_at(w, t)] = pack_half_row(tap.row(t), tap.cols, taps_.row(w) + at);
    }
  }
}

void ActivationStore::get_tap(int64_t w, View2<float> tap) const {
  COLDPRESS_CHECK(tap.rows == length_);
  for (int64_t t = 0; t < length_; ++t) get_row(w, tap.cols, t, 0, tap.cols, tap.row(t));
}

void ActivationStore::get_row(int64_t w, int64_t width, int64_t token, int64_t first, int64_t count,
                              float* row) const {
  const int64_t at = token * width + first;
  if (single_taps_.rows() > 0) {
    std::copy_n(single_taps_.row(w) + at, count, row);
  } else {
    unpack_half_row(taps_.row(w) + at, bases_[row_at(w, token)], count, row);
  }
}

void ActivationStore::before(int64_t w, int64_t width) {
  if (!is_spilled_ || w * length_ >= residual_.rows()) return;
  will_need(residual(w).data, byte_count(length_ * residual_.cols(), sizeof(float)));
  if (taps_.rows() > 0) will_need(taps_.row(w), byte_count(length_ * width, sizeof(uint16_t)));
}

void ActivationStore::after(int64_t w) {
  if (!is_spilled_) return;
  will_not_need(residual(w).data, byte_count(length_ * residual_.cols(), sizeof(float)));
  if (taps_.rows() > 0) will_not_need(taps_.row(w), byte_count(taps_.cols(), sizeof(uint16_t)));
}

int64_t ActivationStore::bytes(int64_t windows, int64_t length, int64_t hidden,
                               int64_t widest_tap) {
  const int64_t row = hidden * static_cast<int64_t>(sizeof(float)) +
                      widest_tap * static_cast<int64_t>(sizeof(uint16_t)) +
                      static_cast<int64_t>(sizeof(int32_t));
  return windows * length * row;
}

}  // namespace coldpress
