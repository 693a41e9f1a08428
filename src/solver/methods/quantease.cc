// QuantEase (2309.01885): cyclic coordinate descent, no factorisation.
//
//   paper            here (preconditioned frame, tap_hessian.h)
//   W, Ŵ             w', q'; the sweeps keep e' = w' - q'
//   Σ = X X^T        C, unit diagonal
//   β̃ (best value)   t_j = q'_j + (C e')_j
//   relaxed step     sweeps with (counter mod 3 == 1) among the first 25 leave t_j unprojected
#include <vector>

#include "solver/descent.h"
#include "solver/polish.h"
#include "solver/solver.h"
#include "solver/strip.h"

namespace coldpress {
namespace {

constexpr int kDefaultSweeps = 25;

// From the problem's codes, or from the weights where it has none.
LayerSolution descend(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  const int sweeps = options.iterations > 0 ? options.iterations : kDefaultSweeps;
  LayerSolution solution = start_solution(problem);
  solution.outcome.iterations = sweeps;
  RowErrors rows(problem.w.rows);
  const std::vector<StripRange> strips = cut_into_strips(problem.w.rows);
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    Strip strip(problem, range.row0, range.rows);
    MatrixF q = coordinate_descent(strip, sweeps);
    polish(&strip, q.view(), {.sweeps = 0, .refit_rounds = options.refit_rounds});
    finish_strip(strip, q.view(), &solution, &rows);
  });
  finish_solution(rows, &solution);
  const auto n = static_cast<double>(problem.w.cols);
  solution.gemm_flops = 2.0 * sweeps * static_cast<double>(problem.w.rows) * n * n;
  return solution;
}

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  if (options.init == nullptr || problem.init.data != nullptr) {
    return descend(problem, options, pool);
  }
  SolverOptions first = options;
  first.init = nullptr;
  first.iterations = 0;
  first.refit_rounds = 0;
  const LayerSolution start = options.init->solve(problem, first, pool);
  LayerSolution solution = descend(
      {problem.w, problem.hessian, &start.grid, start.codes.view(), problem.fit}, options, pool);
  solution.rtn_error = start.rtn_error;  // on the problem's own scales
  solution.gemm_flops += start.gemm_flops;
  solution.outcome.damping = start.outcome.damping;
  solution.outcome.fallback = start.outcome.fallback;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_quantease;
const SolverMethod kSolverMethod_quantease = {
    .name = "quantease",
    .summary = "cyclic coordinate descent with relaxed sweeps",
    .uses_hessian = true,
    .solve = solve,
    .takes_init = true,
    .memory = {.strips = 8},
};

}  // namespace coldpress
