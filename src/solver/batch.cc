#include "solver/batch.h"

#include <algorithm>

#include "solver/strip.h"

namespace coldpress {
namespace {

// Methods wait for their strips several times, so threads idle unless each has a few.
constexpr int64_t kStripsPerThread = 2;

bool fills(const LayerProblem& problem, const ThreadPool& pool) {
  const auto strips = static_cast<int64_t>(cut_into_strips(problem.w.rows).size());
  return strips >= kStripsPerThread * pool.threads();
}

}  // namespace

std::vector<LayerSolution> solve_batch(std::span<const LayerProblem> problems,
                                       const SolverMethod& method, const SolverOptions& options,
                                       ThreadPool& pool) {
  std::vector<LayerSolution> solutions(problems.size());
  const bool one_by_one =
      pool.threads() == 1 || problems.size() < 2 ||
      std::all_of(problems.begin(), problems.end(),
                  [&](const LayerProblem& problem) { return fills(problem, pool); });
  if (one_by_one) {
    for (std::size_t k = 0; k < problems.size(); ++k) {
      solutions[k] = method.solve(problems[k], options, pool);
    }
    return solutions;
  }
  pool.for_each(static_cast<int64_t>(problems.size()), [&](int64_t k, int) {
    ThreadPool own(1);  // for_each is not reentrant; this one starts no thread
    const auto at = static_cast<std::size_t>(k);
    solutions[at] = method.solve(problems[at], options, own);
  });
  return solutions;
}

}  // namespace coldpress
