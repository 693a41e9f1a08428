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

Result<const SolverMethod*> find_solver_on_grid(std::string_view name, std::string_view option) {
  COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(name));
  if (!method->takes_outliers) return method;
  return invalid_argument(
      std::string(option) + " " + std::string(name) +
      " keeps weights beside the grid, which is another problem (bench layers --outliers compares "
      "such methods); use rtn, gptq, quantease or admm-q");
}

}  // namespace coldpress
