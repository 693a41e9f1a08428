// The table of solvers, generated from solver/methods/.
#pragma once

#include <span>

#include "solver/solver.h"

namespace coldpress {

std::span<const SolverMethod* const> solver_table();
Result<const SolverMethod*> find_solver(std::string_view name);

}  // namespace coldpress
