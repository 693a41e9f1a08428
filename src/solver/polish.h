// The end of every method: local search over single-code moves, and scale refit in turns.
#pragma once

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

struct PolishOptions {
  int sweeps = 0;        // coordinate sweeps first; they stop when no code moves
  int refit_rounds = 0;  // then rounds of (refit the scales, a few sweeps)
  int refit_sweeps = 3;
};

// q' (n, lanes) is a grid point; it and the strip's scales are improved in place. Never raises f
// beyond rounding.
void polish(Strip* strip, View2<float> q, const PolishOptions& options);

}  // namespace coldpress
