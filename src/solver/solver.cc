#include "solver/table.h"

namespace coldpress {

Result<const SolverMethod*> find_solver(std::string_view name) {
  std::string known;
  for (const SolverMethod* method : solver_table()) {
    if (method->name == name) return method;
    known += (known.empty() ? "" : ", ") + std::string(method->name);
  }
  return invalid_argument("unknown method '" + std::string(name) + "'; known: " + known);
}

}  // namespace coldpress
