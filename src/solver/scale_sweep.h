// Scale refit inside a storage format (ALGORITHMS.md §§4, 5): coordinate descent over the scales
// and offsets of a strip, codes fixed, each to the best value that the grid can store.
#pragma once

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

// One pass over the groups. e' (n, lanes) is w' - q' of a grid point on storable scales; both move
// on: each group's scale (and offset, where the grid has offsets) to the storable value that lowers
// f most given all others, on the units that the strip has. Never raises f beyond rounding. Cost:
// one product (n x n)(n x lanes) and n x group x lanes.
void scale_sweep(Strip* strip, View2<float> e);

}  // namespace coldpress
