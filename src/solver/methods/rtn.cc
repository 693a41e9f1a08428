// RTN: round every entry to the nearest grid point. The reference that no other method may lose to.
#include "solver/polish.h"
#include "solver/solver.h"
#include "solver/strip.h"

namespace coldpress {
namespace {

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  LayerSolution solution = start_solution(problem);
  RowErrors rows(problem.w.rows);
  const std::vector<StripRange> strips = cut_into_strips(problem.w.rows);
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    Strip strip(problem, range.row0, range.rows);
    MatrixF q = strip.round_to_nearest();
    polish(&strip, q.view(), {.refit_rounds = options.refit_rounds});
    finish_strip(strip, q.view(), &solution, &rows);
  });
  finish_solution(rows, &solution);
  // All of them, by definition: nothing to report.
  if (options.refit_rounds == 0) solution.outcome.rows_from_rtn = 0;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_rtn;
const SolverMethod kSolverMethod_rtn = {
    .name = "rtn",
    .summary = "round to nearest",
    .uses_hessian = false,
    .solve = solve,
};

}  // namespace coldpress
