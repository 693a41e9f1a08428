// GPTQ (2210.17323): columns in order of falling activity; the error of each is spread over the
// later ones through the Cholesky factor of H^-1 (solver/error_feedback.cc).
//
//   paper        here
//   W            strip.w(), preconditioned, columns in solving order
//   H^-1         U^T U, U = factor->u (H damped by 1 % of its mean diagonal)
//   err_j        (t_j - q_j) / U_jj
//   t_j          w_j - sum_{k<j} U_kj err_k
//   B            kBlock: the columns of one lazy update, which is one product
#include <vector>

#include "solver/error_feedback.h"
#include "solver/polish.h"
#include "solver/solver.h"
#include "solver/strip.h"

namespace coldpress {
namespace {

// Where no damping makes H factorisable, coordinate sweeps from RTN need no factor.
constexpr int kFallbackSweeps = 10;

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  LayerSolution solution = start_solution(problem);
  const GptqFactor* factor = problem.hessian->gptq_factor(problem.grid->tuple(), pool);
  if (factor == nullptr) {
    solution.outcome.fallback =
        "H could not be factorised even with 100 % damping; coordinate descent instead";
  } else {
    solution.outcome.damping = factor->damping;
  }
  const int sweeps = factor == nullptr ? kFallbackSweeps : 0;
  RowErrors rows(problem.w.rows);
  const std::vector<StripRange> strips = cut_into_strips(problem.w.rows);
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    Strip strip(problem, range.row0, range.rows);
    MatrixF q = factor != nullptr ? error_feedback(strip, *factor).q : strip.round_to_nearest();
    polish(&strip, q.view(), {.sweeps = sweeps, .refit_rounds = options.refit_rounds});
    finish_strip(strip, q.view(), &solution, &rows);
  });
  finish_solution(rows, &solution);
  const auto n = static_cast<double>(problem.w.cols);
  solution.gemm_flops = static_cast<double>(problem.w.rows) * n * n;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_gptq;
const SolverMethod kSolverMethod_gptq = {
    .name = "gptq",
    .summary = "error feedback through the Cholesky factor of the inverse Hessian, act-order",
    .uses_hessian = true,
    .solve = solve,
    .memory = {.hessians = 1},
};

}  // namespace coldpress
