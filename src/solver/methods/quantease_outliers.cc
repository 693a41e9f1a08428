// QuantEase with outliers (2309.01885): W ~ D + S, coordinate sweeps in turns with iterative hard
// thresholding of S over the whole layer.
//
//   paper               here (preconditioned frame, tap_hessian.h; solver/outliers.h)
//   Ŵ, Ĥ (the sparse)   D', S'; the sweeps keep e' = w' - D' - S'
//   η = 1 / λ_max(Σ)    1 / largest_eigenvalue(C)
//   P_s (top s)         the k largest of the layer, in the frame's metric
//   update of Ĥ         exchange_step while the support forms, threshold_step at the end;
//                       in between the sweeps move S' too: its best value, entry by entry
//
// Beyond the paper, by effort, each bought by measurement (docs/solvers-outliers.md):
//   2  starting scales judged by error feedback, scale refit
//   3  and more: D solved anew on W - S by ADMM-Q at that effort
#include "solver/outliers.h"
#include "solver/table.h"

namespace coldpress {
namespace {

constexpr int kAlternations = 8;
constexpr int kLateAlternations = 4;
constexpr int kRefitRounds = 3;
constexpr int kRefitSweeps = 3;
constexpr int kScaleTrialProducts = 10;

const SolverMethod& method_named(std::string_view name) {
  const Result<const SolverMethod*> method = find_solver(name);
  COLDPRESS_CHECK(method.ok());
  return **method;
}

// Everything the phases of one solve share.
struct Search {
  const LayerProblem& problem;
  const SolverOptions& options;
  ThreadPool& pool;
  std::vector<OutlierStrip> strips;

  template <typename Task>
  void each_strip(const Task& task) {
    pool.for_each(static_cast<int64_t>(strips.size()),
                  [&](int64_t s, int) { task(&strips[static_cast<std::size_t>(s)]); });
  }
};

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  if (outlier_count(options, problem.w.rows, problem.w.cols) == 0) {
    return method_named("quantease").solve(problem, options, pool);
  }
  const GptqFactor* factor = problem.hessian->gptq_factor(1, pool);
  const bool moves_scales = options.move_scales && options.effort >= 2;
  const int alternations = options.iterations > 0 ? options.iterations : kAlternations;
  const bool iterative = options.outlier_selector == OutlierSelector::kIterative;
  Search search{problem, options, pool, outlier_strips(problem)};
  choose_support(options, factor, &search.strips, pool);
  const QuantGrid grid = options.move_scales ? fit_without_outliers(problem, search.strips, pool)
                                             : problem.grid->clone();
  set_grid(problem, grid, &search.strips);
  if (factor != nullptr) {
    search.each_strip([&](OutlierStrip* s) { feed_errors_back(*factor, moves_scales, s); });
  }
  for (int k = 0; k < alternations; ++k) {
    search.each_strip([](OutlierStrip* s) { sweep_outliers(1, s); });
    if (iterative) exchange_step(options, &search.strips, pool);
  }
  search.each_strip([](OutlierStrip* s) { sweep_outliers(2, s); });
  double products = 3.0 * alternations + 2;
  if (moves_scales) {
    search.each_strip([](OutlierStrip* s) { polish_outliers(kRefitRounds, kRefitSweeps, s); });
    products += kScaleTrialProducts + (2 + kRefitSweeps) * kRefitRounds;
  }
  double flops = 0;
  if (options.effort >= 3) {
    SolverOptions rest = options;
    rest.iterations = 0;
    flops = solve_grid_part(problem, method_named("admm-q"), rest, &search.strips, pool);
  }
  const double lambda = largest_eigenvalue(problem.hessian->correlation());
  for (int k = 0; k < kLateAlternations; ++k) {
    if (iterative) threshold_step(options, lambda, &search.strips, pool);
    search.each_strip([](OutlierStrip* s) { sweep_outliers(1, s); });
  }
  if (moves_scales) {
    search.each_strip([](OutlierStrip* s) { polish_outliers(kRefitRounds, kRefitSweeps, s); });
    products += (2 + kRefitSweeps) * kRefitRounds;
  }
  LayerSolution solution = finish_outliers(problem, options.outlier_mode, &search.strips, pool);
  solution.outcome.iterations = alternations + kLateAlternations;
  if (factor != nullptr) {
    solution.outcome.damping = factor->damping;
  } else {
    solution.outcome.fallback =
        "H could not be factorised even with 100 % damping; sweeps from the weights themselves";
  }
  const auto n = static_cast<double>(problem.w.cols);
  products += 2.0 * kLateAlternations;
  solution.gemm_flops = flops + 2.0 * products * static_cast<double>(problem.w.rows) * n * n;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_quantease_outliers;
const SolverMethod kSolverMethod_quantease_outliers = {
    .name = "quantease-outliers",
    .summary = "QuantEase beside a few unquantised entries or columns, by hard thresholding",
    .uses_hessian = true,
    .solve = solve,
    .takes_outliers = true,
    .memory = {.weights = 8, .hessians = 3},
};

}  // namespace coldpress
