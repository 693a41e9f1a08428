// The end of every method: local search over single-code moves, and scale refit in turns.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

struct PolishOptions {
  int64_t greedy_moves = 0;  // best single-code moves first, per row at most
  int sweeps = 0;            // then coordinate sweeps; they stop when no code moves
  int refit_rounds = 0;      // then rounds of (refit the scales, a few sweeps), at most
  int refit_sweeps = 3;
  double refit_gain = 1e-3;  // a round that lowers the strip's f by a smaller share is the last
};

// q' (n, lanes) is a grid point; it and the strip's scales are improved in place. Never raises f
// beyond rounding. Returns the products (n x n)(n x lanes) that it took, about.
double polish(Strip* strip, View2<float> q, const PolishOptions& options);

}  // namespace coldpress
