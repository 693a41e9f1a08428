// The table of solvers, generated from solver/methods/.
#pragma once

#include <span>

#include "solver/solver.h"

namespace coldpress {

std::span<const SolverMethod* const> solver_table();
Result<const SolverMethod*> find_solver(std::string_view name);
// The same of a method that keeps no weights beside the grid; `option` names the option in errors.
Result<const SolverMethod*> find_solver_on_grid(std::string_view name, std::string_view option);

}  // namespace coldpress
