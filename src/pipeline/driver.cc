#include "pipeline/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "calibration/streamer.h"
#include "grid/table.h"
#include "solver/bound.h"
#include "solver/strip.h"
#include "solver/table.h"

namespace coldpress {
namespace {

class Stopwatch {
 public:
  explicit Stopwatch(double* into) : into_(into), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    *into_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double* into_;
  std::chrono::steady_clock::time_point start_;
};

// Everything one run carries from linear to linear.
struct Run {
  const Plan& plan;
  const SolverMethod& method;
  const GridKind& kind;
  const DriverHooks& hooks;
  ThreadPool& pool;
  RunReport report;
  int64_t linears = 0;
  int blocks = 0;
};

// Ranges for all rows; rows are independent, so strips of them are fitted in parallel.
QuantGrid fit_grid(const Run& run, View2<const float> w, const std::vector<float>& h_diag) {
  const std::vector<StripRange> strips = cut_into_strips(w.rows);
  std::vector<QuantGrid> parts(strips.size());
  run.pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange r = strips[static_cast<std::size_t>(s)];
    parts[static_cast<std::size_t>(s)] =
        run.kind.fit(run.plan.recipe.grid, w.row_range(r.row0, r.rows), h_diag);
  });
  QuantGrid grid = parts.front().clone();
  grid.rows = w.rows;
  grid.scale = MatrixF(w.rows, grid.groups());
  grid.zero = MatrixF(w.rows, grid.groups());
  for (std::size_t s = 0; s < strips.size(); ++s) {
    const int64_t at = strips[s].row0;
    std::copy_n(parts[s].scale.data(), parts[s].scale.size(), grid.scale.row(at));
    std::copy_n(parts[s].zero.data(), parts[s].zero.size(), grid.zero.row(at));
  }
  return grid;
}

// Solves one linear and replaces its weights by the values the output file will hold.
Status press_linear(Run& run, int block, const Tap& tap, const LinearRef& linear, TapHessian& h,
                    int64_t tokens, View2<float> w) {
  TensorReport t;
  {
    const Stopwatch watch(&run.report.seconds.solve);
    const QuantGrid grid = fit_grid(run, w, h.diagonal());
    const GridFit fit{&run.kind, run.plan.recipe.grid};
    const LayerProblem problem{w, &h, &grid, {}, &fit};
    const LayerSolution solution = run.method.solve(problem, run.plan.recipe.solver, run.pool);
    t = {linear.tensor_name,
         linear.role,
         tap.name,
         block,
         linear.out,
         linear.in,
         solution.relative_error(),
         solution.relative_rtn_error(),
         0,
         tokens,
         solution.outcome,
         solution.side_bits_per_weight()};
    run.report.solve_gemm_flops += solution.gemm_flops;
    if (solution.energy > 0) {
      const Stopwatch bound_watch(&run.report.seconds.bound);
      const double bits = run.plan.recipe.grid.bits + t.side_bits_per_weight;
      t.bound =
          h.scale() * h.scale() * rate_distortion_bound(w, h.spectrum(), bits) / solution.energy;
    }
    decode(solution.grid, solution.codes.view(), w);
    solution.side.add_to(w);
    for (int64_t i = 0; i < w.rows; ++i) {
      round_to_dtype(run.plan.recipe.dense_type, {w.row(i), static_cast<std::size_t>(w.cols)});
    }
  }
  {
    const Stopwatch watch(&run.report.seconds.write);
    COLDPRESS_RETURN_IF_ERROR(run.hooks.put(linear.tensor_name, w));
  }
  RunReport& r = run.report;
  r.mean_error += t.error;  // sums until the run ends
  r.mean_rtn_error += t.rtn_error;
  r.mean_bound += t.bound;
  r.tensors.push_back(std::move(t));
  if (run.hooks.progress) {
    const auto done = static_cast<int64_t>(r.tensors.size());
    run.hooks.progress({block, run.blocks, done, run.linears, linear.tensor_name,
                        r.mean_error / static_cast<double>(done)});
  }
  return {};
}

}  // namespace

Result<RunReport> run_plan(const Model& model, const Plan& plan, const CalibrationWindows& windows,
                           const DriverHooks& hooks, ThreadPool& pool) {
  COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(plan.recipe.method));
  COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_grid(plan.recipe.grid.kind));
  Run run{plan, *method, *kind, hooks, pool, {}, 0, static_cast<int>(model.config().blocks)};
  for (const PlannedTensor& t : plan.tensors) run.linears += t.action == TensorAction::kQuantise;
  PhaseTimes& seconds = run.report.seconds;
  {
    const Stopwatch total(&seconds.total);
    CalibrationStreamer streamer(model, windows, pool);
    {
      COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model));
      COLDPRESS_RETURN_IF_ERROR(streamer.embed(head));
    }
    for (int block = 0; block < run.blocks; ++block) {
      auto load_watch = std::make_unique<Stopwatch>(&seconds.load);
      COLDPRESS_ASSIGN_OR_RETURN(BlockWeights weights, BlockWeights::load(model, block));
      load_watch.reset();
      const std::vector<Tap> taps = model.taps(block);
      int64_t previous_width = 0;
      for (std::size_t s = 0; s <= taps.size(); ++s) {
        const int64_t width = s < taps.size() ? taps[s].width : 0;
        COLDPRESS_ASSIGN_OR_RETURN(
            const Gram gram,
            streamer.run_stage(weights, block, static_cast<int>(s), previous_width, width));
        if (s == taps.size()) break;
        const std::string name = fmt::format("block {} {}", block, taps[s].name);
        COLDPRESS_ASSIGN_OR_RETURN(TapHessian h,
                                   TapHessian::create(name, gram.normalised().view()));
        for (const LinearRef& linear : taps[s].linears) {
          COLDPRESS_RETURN_IF_ERROR(press_linear(run, block, taps[s], linear, h, gram.tokens(),
                                                 weights.linear(linear.role)));
        }
        previous_width = width;
      }
    }
    seconds.forward = streamer.times().forward / pool.threads();
    seconds.gram = streamer.times().gram / pool.threads();
  }
  seconds.solve -= seconds.bound;
  if (!run.report.tensors.empty()) {
    const auto count = static_cast<double>(run.report.tensors.size());
    run.report.mean_error /= count;
    run.report.mean_rtn_error /= count;
    run.report.mean_bound /= count;
  }
  return std::move(run.report);
}

}  // namespace coldpress
