// Greedy local search (2605.11222, "local search"): the single-code move, to any level, that lowers
// a row's f most, again and again. Cyclic sweeps (solver/sweep.h) end what it begins.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

// At most `moves` moves in each row, fewer where none lowers f. e' (n, lanes) is w' - q' of a grid
// point, updated in place. Never raises f beyond rounding. Returns the number of moves made. Cost:
// one product (n x n)(n x lanes), and about 10 n per move.
int64_t greedy_moves(const Strip& strip, View2<const float> correlation, int64_t moves,
                     View2<float> e);

}  // namespace coldpress
