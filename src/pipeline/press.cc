#include "pipeline/press.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "hessian/shrinkage.h"
#include "solver/batch.h"
#include "solver/bound.h"
#include "solver/strip.h"

namespace coldpress {
namespace {

// Ranges for all rows; rows are independent, so strips of them are fitted in parallel.
QuantGrid fit_grid(const Run& run, View2<const float> w, const std::vector<float>& h_diag) {
  const std::vector<StripRange> strips = cut_into_strips(w.rows);
  std::vector<QuantGrid> parts(strips.size());
  run.pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange r = strips[static_cast<std::size_t>(s)];
    parts[static_cast<std::size_t>(s)] =
        run.kind.fit(run.plan.recipe.grid, w.row_range(r.row0, r.rows), h_diag);
  });
  QuantGrid grid = parts.front().shell(w.rows);
  for (std::size_t s = 0; s < strips.size(); ++s) grid.take_rows(parts[s], strips[s].row0);
  return grid;
}

// Linears that are solved together, and what each is solved against.
struct Job {
  const LinearRef* linear;
  TapHessian* hessian;
  int64_t tokens;
  std::string policy;  // of experts
};

TensorReport report_of(Run& run, int block, const Tap& tap, const Job& job,
                       const LayerSolution& solution, View2<const float> w) {
  const LinearRef& linear = *job.linear;
  TensorReport t;
  t.name = linear.tensor_name;
  t.role = linear.role;
  t.tap = tap.name;
  t.block = block;
  t.rows = linear.out;
  t.cols = linear.in;
  t.error = solution.relative_error();
  t.rtn_error = solution.relative_rtn_error();
  t.calibration_tokens = job.tokens;
  t.outcome = solution.outcome;
  t.side_bits_per_weight = solution.side_bits_per_weight();
  t.expert = linear.expert;
  t.policy = job.policy;
  if (solution.energy > 0) {
    const Stopwatch watch(&run.report.seconds.bound);
    const double bits = run.plan.recipe.grid.bits + t.side_bits_per_weight;
    TapHessian& h = *job.hessian;
    t.bound =
        h.scale() * h.scale() * rate_distortion_bound(w, h.spectrum(), bits) / solution.energy;
  }
  return t;
}

void note(Run& run, TensorReport t) {
  RunReport& r = run.report;
  r.mean_error += t.error;  // sums until the run ends
  r.mean_rtn_error += t.rtn_error;
  r.mean_bound += t.bound;
  r.tensors.push_back(std::move(t));
  if (!run.hooks.progress) return;
  const auto done = static_cast<int64_t>(r.tensors.size());
  run.hooks.progress({r.tensors.back().block, run.blocks, done, run.linears, r.tensors.back().name,
                      r.mean_error / static_cast<double>(done)});
}

// The values that the output file will hold.
void replace_weights(Run& run, const LayerSolution& solution, View2<float> w) {
  const Stopwatch watch(&run.report.seconds.solve);
  decode(solution.grid, solution.codes.view(), w);
  solution.side.add_to(w);
  for (int64_t i = 0; i < w.rows; ++i) {
    round_to_dtype(run.plan.recipe.dense_type, {w.row(i), static_cast<std::size_t>(w.cols)});
  }
}

// Solves the jobs and replaces their weights by the values the output file will hold.
Status press(Run& run, int block, const Tap& tap, const std::vector<Job>& jobs,
             BlockWeights& weights) {
  const GridFit fit{&run.kind, run.plan.recipe.grid};
  std::vector<QuantGrid> grids;
  std::vector<LayerProblem> problems;
  std::vector<LayerSolution> solutions;
  {
    const Stopwatch watch(&run.report.seconds.solve);
    grids.reserve(jobs.size());
    for (const Job& job : jobs) {
      const View2<const float> w = weights.linear(*job.linear);
      grids.push_back(fit_grid(run, w, job.hessian->diagonal()));
      problems.push_back({w, job.hessian, &grids.back(), {}, &fit});
    }
    solutions = solve_batch(problems, run.method, run.plan.recipe.solver, run.pool);
  }
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    const LinearRef& linear = *jobs[k].linear;
    const View2<float> w = weights.linear(linear);
    TensorReport report = report_of(run, block, tap, jobs[k], solutions[k], w);
    if (run.hooks.inspect) run.hooks.inspect(problems[k], report);
    run.report.solve_gemm_flops += solutions[k].gemm_flops;
    replace_weights(run, solutions[k], w);
    if (!linear.is_stacked) {
      const Stopwatch watch(&run.report.seconds.write);
      COLDPRESS_RETURN_IF_ERROR(run.hooks.put(linear.tensor_name, w));
    }
    note(run, std::move(report));
  }
  return {};
}

// Experts, a few at a time: each has a Hessian of its own, which its gate and up share.
Status press_experts(Run& run, int block, const Tap& tap, const Gram& pooled,
                     CalibrationStreamer& streamer, BlockWeights& weights) {
  int64_t experts = 0;
  for (const LinearRef& linear : tap.linears)
    experts = std::max<int64_t>(experts, linear.expert + 1);
  for (int64_t first = 0; first < experts; first += kExpertsAtOnce) {
    const int64_t count = std::min(kExpertsAtOnce, experts - first);
    const std::vector<Gram> grams = streamer.expert_grams(tap, first, count);
    std::deque<TapHessian> hessians;
    std::vector<Job> jobs;
    for (int64_t i = 0; i < count; ++i) {
      const Gram& own = grams[static_cast<std::size_t>(i)];
      const ExpertHessian expert = expert_hessian(own, pooled, own.n());
      COLDPRESS_ASSIGN_OR_RETURN(
          TapHessian h,
          TapHessian::create(fmt::format("block {} {} of expert {}", block, tap.name, first + i),
                             expert.h.view()));
      hessians.push_back(std::move(h));
      for (const LinearRef& linear : tap.linears) {
        if (linear.expert != first + i) continue;
        jobs.push_back({&linear, &hessians.back(), own.tokens(), expert.policy});
      }
    }
    COLDPRESS_RETURN_IF_ERROR(press(run, block, tap, jobs, weights));
  }
  for (const LinearRef& linear : tap.linears) {  // tensors of all experts, once each
    if (linear.expert != 0 || !linear.is_stacked) continue;
    const Stopwatch watch(&run.report.seconds.write);
    COLDPRESS_RETURN_IF_ERROR(run.hooks.put(linear.tensor_name, weights.linear(linear.role)));
  }
  return {};
}

}  // namespace

Status press_tap(Run& run, int block, const Tap& tap, const Gram& gram,
                 CalibrationStreamer& streamer, BlockWeights& weights) {
  if (tap.by_expert) return press_experts(run, block, tap, gram, streamer, weights);
  COLDPRESS_ASSIGN_OR_RETURN(
      TapHessian h,
      TapHessian::create(fmt::format("block {} {}", block, tap.name), gram.normalised().view()));
  // One by one: each fills the pool by itself or is small beside the others.
  for (const LinearRef& linear : tap.linears) {
    COLDPRESS_RETURN_IF_ERROR(press(run, block, tap, {{&linear, &h, gram.tokens(), {}}}, weights));
  }
  return {};
}

}  // namespace coldpress
