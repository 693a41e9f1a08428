#include "coldpress/solve.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "coldpress/recipe_of.h"
#include "grid/table.h"
#include "parallel/thread_pool.h"
#include "solver/bound.h"
#include "solver/check_options.h"
#include "solver/fit_grid.h"
#include "solver/table.h"

namespace coldpress {
namespace {

// Products of fp32 numbers summed in any order stay far below this, in parts of sqrt(H_ii H_jj).
constexpr double kAsymmetry = 1e-3;

Status check_weights(View2<const float> w, View2<const float> h) {
  if (w.rows < 1 || w.cols < 1) {
    return invalid_argument(fmt::format("W is {} x {}: it holds no weights", w.rows, w.cols));
  }
  if (h.rows != w.cols || h.cols != w.cols) {
    return invalid_argument(fmt::format("W is {} x {}, so H must be {} x {}, but it is {} x {}",
                                        w.rows, w.cols, w.cols, w.cols, h.rows, h.cols));
  }
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) {
      if (!std::isfinite(w(i, j))) {
        return invalid_argument(fmt::format("W holds {} at ({}, {})", w(i, j), i, j));
      }
    }
  }
  return {};
}

// The diagonal must be finite and not negative.
Status check_symmetric(View2<const float> h) {
  for (int64_t i = 0; i < h.rows; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      const double difference = static_cast<double>(h(i, j)) - h(j, i);
      const double size = std::sqrt(static_cast<double>(h(i, i)) * h(j, j));
      if (std::abs(difference) <= kAsymmetry * size) continue;  // false for NaN
      return invalid_argument(fmt::format("H is not symmetric: {} at ({}, {}), {} at ({}, {})",
                                          h(i, j), i, j, h(j, i), j, i));
    }
  }
  return {};
}

// A grid whose values are codes, scales and zeros.
Result<const GridKind*> find_kind(const GridOptions& options, int64_t cols) {
  COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_grid(options.kind));
  if (kind->block != nullptr) {
    return invalid_argument(
        fmt::format("--grid {} is a format of GGUF blocks, of whole models; use affine, nf4 or fp4",
                    kind->name));
  }
  COLDPRESS_RETURN_IF_ERROR(kind->check(options, cols));
  return kind;
}

SolvedLayer take_solution(LayerSolution solution) {
  SolvedLayer layer;
  layer.group = solution.grid.group;
  layer.weight = MatrixF(solution.grid.rows, solution.grid.cols);
  decode(solution.grid, solution.codes.view(), layer.weight.view());
  solution.side.add_to(layer.weight.view());
  layer.codes = std::move(solution.codes);
  layer.scales = std::move(solution.grid.scale);
  layer.zeros = std::move(solution.grid.zero);
  layer.levels = std::move(solution.grid.level);
  layer.damping = solution.outcome.damping;
  layer.rows_from_rtn = solution.outcome.rows_from_rtn;
  layer.fallback = std::move(solution.outcome.fallback);
  return layer;
}

}  // namespace

Result<SolvedLayer> solve_layer(View2<const float> w, View2<const float> h,
                                const MethodOptions& options, int threads) {
  COLDPRESS_ASSIGN_OR_RETURN(Recipe recipe, recipe_of(options));
  COLDPRESS_ASSIGN_OR_RETURN(const int thread_count, threads_of(threads));
  COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(recipe.method));
  COLDPRESS_RETURN_IF_ERROR(check_outliers(*method, recipe.solver));
  COLDPRESS_ASSIGN_OR_RETURN(recipe.solver.init, find_init(recipe.init, *method));
  COLDPRESS_RETURN_IF_ERROR(check_weights(w, h));
  COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_kind(recipe.grid, w.cols));
  COLDPRESS_ASSIGN_OR_RETURN(TapHessian hessian, TapHessian::create("H", h));
  COLDPRESS_RETURN_IF_ERROR(check_symmetric(h));

  ThreadPool pool(thread_count);
  const GridFit fit{kind, recipe.grid};
  const QuantGrid grid = fit_grid(fit, w, hessian.diagonal(), pool);
  LayerSolution solution = method->solve({w, &hessian, &grid, {}, &fit}, recipe.solver, pool);
  const double error = solution.relative_error();
  const double rtn_error = solution.relative_rtn_error();
  const double energy = solution.energy;
  const double side_bits = solution.side_bits_per_weight();
  SolvedLayer layer = take_solution(std::move(solution));
  layer.error = error;
  layer.rtn_error = rtn_error;
  layer.bits_per_weight = kind->bits_per_weight(recipe.grid, w.cols) + side_bits;
  if (energy > 0)
    layer.bound = relative_bound(w, hessian, recipe.grid.bits + side_bits, energy, pool);
  return layer;
}

}  // namespace coldpress
