#include "calibration/gram_source.h"

namespace coldpress {
namespace {

Status needs_windows() {
  return unsupported("scaling a tap needs calibration windows that run through the model");
}

}  // namespace

Result<OpenTap> GramSource::open_tap(const BlockWeights& /*weights*/,
                                     const BlockWeights* /*source*/, int /*block*/, int /*stage*/,
                                     const std::vector<Tap>& /*taps*/) {
  return needs_windows();
}

Result<TapSums> GramSource::close_tap(const BlockWeights& /*weights*/, int /*block*/, int /*stage*/,
                                      const std::vector<Tap>& /*taps*/,
                                      std::span<const float> /*scales*/) {
  return needs_windows();
}

}  // namespace coldpress
