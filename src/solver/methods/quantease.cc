// QuantEase (2309.01885): cyclic coordinate descent, no factorisation.
//
//   paper            here (preconditioned frame, tap_hessian.h)
//   W, Ŵ             w', q'; the sweeps keep e' = w' - q'
//   Σ = X X^T        C, unit diagonal
//   β̃ (best value)   t_j = q'_j + (C e')_j
//   relaxed step     sweeps with (counter mod 3 == 1) among the first 25 leave t_j unprojected
#include <vector>

#include "solver/polish.h"
#include "solver/solver.h"
#include "solver/strip.h"
#include "solver/sweep.h"

namespace coldpress {
namespace {

constexpr int kDefaultSweeps = 25;
constexpr int kRelaxedUntil = 25;

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  const int sweeps = options.iterations > 0 ? options.iterations : kDefaultSweeps;
  LayerSolution solution = start_solution(problem);
  solution.outcome.iterations = sweeps;
  RowErrors rows(problem.w.rows);
  const std::vector<StripRange> strips = cut_into_strips(problem.w.rows);
  const View2<const float> correlation = problem.hessian->correlation();
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    Strip strip(problem, range.row0, range.rows);
    MatrixF e(strip.n(), strip.lanes());  // starts at q' = w', unless codes are given
    const bool given = problem.init.data != nullptr;
    if (given) {
      const MatrixF q = strip.start();
      for (int64_t k = 0; k < e.size(); ++k) e.data()[k] = strip.w().data[k] - q.data()[k];
    }
    SweepScratch scratch;
    for (int k = 0; k < sweeps; ++k) {
      const bool relaxed = !given && k % 3 == 1 && k < kRelaxedUntil && k + 1 < sweeps;
      const int64_t moved = coordinate_sweep(strip, correlation, relaxed, e.view(), &scratch);
      if (moved == 0 && !relaxed && (given || k >= kRelaxedUntil)) break;
    }
    for (int64_t k = 0; k < e.size(); ++k) e.data()[k] = strip.w().data[k] - e.data()[k];
    polish(&strip, e.view(), {.sweeps = 0, .refit_rounds = options.refit_rounds});
    finish_strip(strip, e.view(), &solution, &rows);
  });
  finish_solution(rows, &solution);
  const auto n = static_cast<double>(problem.w.cols);
  solution.gemm_flops = 2.0 * sweeps * static_cast<double>(problem.w.rows) * n * n;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_quantease;
const SolverMethod kSolverMethod_quantease = {
    .name = "quantease",
    .summary = "cyclic coordinate descent with relaxed sweeps",
    .uses_hessian = true,
    .solve = solve,
};

}  // namespace coldpress
