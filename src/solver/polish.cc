#include "solver/polish.h"

#include "solver/refit.h"
#include "solver/sweep.h"

namespace coldpress {

void polish(Strip* strip, View2<float> q, const PolishOptions& options) {
  if (options.sweeps == 0 && options.refit_rounds == 0) return;
  const View2<const float> correlation = strip->problem().hessian->correlation();
  SweepScratch scratch;
  MatrixF e(strip->n(), strip->lanes());
  const auto sweep = [&](int count) {
    const float* w = strip->w().data;
    for (int64_t at = 0; at < e.size(); ++at) e.data()[at] = w[at] - q.data[at];
    for (int k = 0; k < count; ++k) {
      if (coordinate_sweep(*strip, correlation, false, e.view(), &scratch) == 0) break;
    }
    for (int64_t at = 0; at < e.size(); ++at) q.data[at] = w[at] - e.data()[at];
  };
  if (options.sweeps > 0) sweep(options.sweeps);
  for (int round = 0; round < options.refit_rounds; ++round) {
    refit_scales(strip, q);
    sweep(options.refit_sweeps);
  }
}

}  // namespace coldpress
