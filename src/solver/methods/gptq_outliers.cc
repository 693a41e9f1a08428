// GPTQ beside outliers that are chosen once: the largest weights, or the most sensitive ones as
// SpQR (2306.03078) finds them. The baseline of quantease-outliers at equal bits.
//
// The grid is fitted without them; while errors are fed back they keep their updated value.
#include "solver/outliers.h"
#include "solver/table.h"

namespace coldpress {
namespace {

constexpr int kFallbackSweeps = 10;
constexpr int kRefitSweeps = 3;

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  if (outlier_count(options, problem.w.rows, problem.w.cols) == 0) {
    return (*find_solver("gptq"))->solve(problem, options, pool);
  }
  const GptqFactor* factor = problem.hessian->gptq_factor(1, pool);
  std::vector<OutlierStrip> strips = outlier_strips(problem);
  choose_support(options, factor, &strips, pool);
  const QuantGrid grid =
      options.move_scales ? fit_without_outliers(problem, strips, pool) : problem.grid->clone();
  set_grid(problem, grid, &strips);
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t at, int) {
    OutlierStrip* s = &strips[static_cast<std::size_t>(at)];
    if (factor != nullptr) {
      feed_errors_back(*factor, false, s);
    } else {
      sweep_outliers(kFallbackSweeps, s);
    }
    polish_outliers(options.refit_rounds, kRefitSweeps, s);
  });
  LayerSolution solution = finish_outliers(problem, options.outlier_mode, &strips, pool);
  if (factor == nullptr) {
    solution.outcome.fallback =
        "H could not be factorised even with 100 % damping; coordinate descent instead";
  } else {
    solution.outcome.damping = factor->damping;
  }
  const auto n = static_cast<double>(problem.w.cols);
  solution.gemm_flops = static_cast<double>(problem.w.rows) * n * n;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_gptq_outliers;
const SolverMethod kSolverMethod_gptq_outliers = {
    .name = "gptq-outliers",
    .summary = "GPTQ beside the largest or the most sensitive weights, which stay unquantised",
    .uses_hessian = true,
    .solve = solve,
    .takes_outliers = true,
    .memory = {.weights = 8, .hessians = 3},
};

}  // namespace coldpress
