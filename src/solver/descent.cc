#include "solver/descent.h"

#include "solver/sweep.h"

namespace coldpress {

namespace {
constexpr int kRelaxedUntil = 25;
}  // namespace

MatrixF coordinate_descent(const Strip& strip, int sweeps) {
  const bool given = strip.problem().init.data != nullptr;
  const View2<const float> correlation = strip.problem().hessian->correlation();
  MatrixF e(strip.n(), strip.lanes());  // starts at q' = w', unless codes are given
  if (given) strip.w_minus(strip.start().view(), e.view());
  SweepScratch scratch;
  scratch.off_grid = !given;
  for (int k = 0; k < sweeps; ++k) {
    const bool relaxed = !given && k % 3 == 1 && k < kRelaxedUntil && k + 1 < sweeps;
    const int64_t moved = coordinate_sweep(strip, correlation, relaxed, e.view(), &scratch);
    if (moved == 0 && !relaxed && (given || k >= kRelaxedUntil)) break;
  }
  strip.w_minus(e.view(), e.view());
  return e;
}

}  // namespace coldpress
