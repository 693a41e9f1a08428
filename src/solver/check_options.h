// Which solver options go with which method: asked before any work begins.
#pragma once

#include <string_view>

#include "base/status.h"
#include "solver/solver.h"

namespace coldpress {

// Refuses a fraction of outliers that is out of range, that the method cannot keep or that it needs
// and does not have, naming what would work.
Status check_outliers(const SolverMethod& method, const SolverOptions& options);

// The method to start from; null where `init` is empty. Refuses one that `method` cannot start
// from.
Result<const SolverMethod*> find_init(std::string_view init, const SolverMethod& method);

}  // namespace coldpress
