#include "solver/check_options.h"

#include <fmt/format.h>

#include <string>

#include "solver/table.h"

namespace coldpress {

Status check_outliers(const SolverMethod& method, const SolverOptions& options) {
  const double fraction = options.outlier_fraction;
  if (!(fraction >= 0 && fraction <= 0.5)) {
    return invalid_argument(
        fmt::format("--outliers {:g} is not possible; use a fraction from 0 to 0.5", fraction));
  }
  if (fraction == 0 && options.outlier_mode != OutlierMode::kUnstructured) {
    return invalid_argument("--outlier-mode says which outliers to keep; it needs --outliers");
  }
  if (method.takes_outliers == (fraction > 0)) return {};
  if (method.takes_outliers) {
    return invalid_argument(
        fmt::format("--method {} needs --outliers, the fraction of the weights to keep beside the "
                    "grid, such as 0.01",
                    method.name));
  }
  std::string able;
  for (const SolverMethod* m : solver_table()) {
    if (m->takes_outliers) able += (able.empty() ? "" : " or ") + std::string(m->name);
  }
  return invalid_argument(
      fmt::format("--outliers is not possible with --method {}; use {}", method.name, able));
}

Result<const SolverMethod*> find_init(std::string_view init, const SolverMethod& method) {
  if (init.empty()) return static_cast<const SolverMethod*>(nullptr);
  if (!method.takes_init) {
    return invalid_argument(
        fmt::format("--method {} has its own start; --init is for quantease", method.name));
  }
  return find_solver_on_grid(init, "--init");
}

}  // namespace coldpress
