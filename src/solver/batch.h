// Many small layer problems at once: MoE experts, attention heads, the linears of one tap.
#pragma once

#include <span>
#include <vector>

#include "parallel/thread_pool.h"
#include "solver/solver.h"

namespace coldpress {

// Solves every problem; result k belongs to problem k and has the same bytes as method.solve() of
// it alone. Problems too small to keep the pool busy by themselves run side by side, one thread
// each; others one after the other, each on the whole pool. Problems may share a TapHessian, whose
// factorisation is then made once. Memory: the method's working set times the threads.
std::vector<LayerSolution> solve_batch(std::span<const LayerProblem> problems,
                                       const SolverMethod& method, const SolverOptions& options,
                                       ThreadPool& pool);

}  // namespace coldpress
