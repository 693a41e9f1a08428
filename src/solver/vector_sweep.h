// Sweeps and error feedback on grids whose columns are chosen together (grid/codebook.h): what
// solver/sweep.h and solver/error_feedback.h do column by column, unit by unit.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "solver/strip.h"
#include "solver/sweep.h"

namespace coldpress {

// For each unit of columns in order: f as a function of the unit's point, all others given, is a
// quadratic with H's block of the unit; the unit moves to a codeword that is better than the
// present one, found from the quadratic's minimum. e' (n, lanes) is w' - q', updated in place;
// never raises f where q' is a grid point. Where scratch->off_grid says that it may be none, every
// unit moves to a grid point. Returns the number of units that moved, of all lanes.
int64_t unit_sweep(const Strip& strip, View2<const float> correlation, View2<float> e,
                   SweepScratch* scratch);

// Points q (unit, lanes) of the unit of columns from `first` on for targets t (unit, lanes): such
// that the errors that u (unit, unit), a diagonal block of the factor, leaves to spread are small.
void feed_back_unit(const Strip& strip, int64_t first, View2<const float> t, View2<const float> u,
                    View2<float> q);

}  // namespace coldpress
