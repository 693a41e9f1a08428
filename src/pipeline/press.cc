#include "pipeline/press.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "grid/block_format.h"
#include "hessian/shrinkage.h"
#include "io/ggml_codec.h"
#include "solver/batch.h"
#include "solver/bound.h"
#include "solver/fit_grid.h"

namespace coldpress {
namespace {

TensorReport report_of(Run& run, const TapPlace& place, const Job& job,
                       const LayerSolution& solution) {
  const LinearRef& linear = *job.linear;
  TensorReport t;
  t.name = linear.tensor_name;
  t.role = linear.role;
  t.tap = place.tap;
  t.block = place.block;
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
    const double bits = job.planned->grid.bits + t.side_bits_per_weight;
    t.bound = relative_bound(job.w, *job.hessian, bits, solution.energy);
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

// The values that the output file will hold, in place of the weights; and the packed rows, where it
// holds blocks.
Matrix<std::byte> replace_weights(Run& run, const Job& job, const LayerSolution& solution) {
  const Stopwatch watch(&run.report.seconds.solve);
  const View2<float> w = job.w;
  const auto cols = static_cast<std::size_t>(w.cols);
  if (const BlockFormat* format = job.fit.kind->block; format != nullptr) {
    Matrix<std::byte> blocks = encode_blocks(*format, solution.grid, solution.codes.view());
    for (int64_t i = 0; i < w.rows; ++i) {
      COLDPRESS_CHECK(decode_ggml(format->ggml_type,
                                  {blocks.row(i), static_cast<std::size_t>(blocks.cols())}, w.cols,
                                  {w.row(i), cols}));
    }
    return blocks;
  }
  decode(solution.grid, solution.codes.view(), w);
  solution.side.add_to(w);
  for (int64_t i = 0; i < w.rows; ++i) round_to_dtype(run.plan.recipe.dense_type, {w.row(i), cols});
  return {};
}

// The packed rows of an expert join those of the others in its tensor.
void stack_blocks(Run& run, const Job& job, const Matrix<std::byte>& blocks) {
  if (blocks.rows() == 0) return;
  Matrix<std::byte>& all = run.stacked[job.linear->tensor_name];
  if (all.rows() == 0) all = Matrix<std::byte>(job.planned->linears * blocks.rows(), blocks.cols());
  std::copy_n(blocks.data(), blocks.size(), all.row(job.linear->expert * blocks.rows()));
}

}  // namespace

std::optional<Job> make_job(Run& run, const LinearRef& linear, TapHessian* hessian,
                            View2<float> w) {
  const PlannedTensor& planned = *run.planned.at(linear.tensor_name);
  if (planned.action != TensorAction::kQuantise) {
    for (int64_t i = 0; i < w.rows && planned.is_edited; ++i) {  // as the output will hold it
      round_to_dtype(run.plan.recipe.dense_type, {w.row(i), static_cast<std::size_t>(w.cols)});
    }
    return std::nullopt;
  }
  const GridFit fit{*find_grid(planned.grid.kind), planned.grid};
  return Job{&linear, &planned, fit, hessian, w};
}

Result<TapProblem> tap_problem(Run& run, const std::string& name, TapSums sums,
                               double residual_scale) {
  const Stopwatch watch(&run.report.seconds.solve);
  TargetShift shift(sums, residual_scale, run.pool);
  sums.drift = {};
  const MatrixF h = sums.gram.normalised();
  const int64_t tokens = sums.gram.tokens();
  sums.gram = {};
  COLDPRESS_ASSIGN_OR_RETURN(TapHessian hessian, TapHessian::create(name, h.view()));
  return TapProblem{std::move(shift), std::move(hessian), tokens};
}

Status press(Run& run, const SolverMethod& method, const TapPlace& place,
             const std::vector<Job>& jobs) {
  std::vector<QuantGrid> grids;
  std::vector<LayerProblem> problems;
  std::vector<LayerSolution> solutions;
  {
    const Stopwatch watch(&run.report.seconds.solve);
    grids.reserve(jobs.size());
    for (const Job& job : jobs) {
      if (job.shift != nullptr) job.shift->apply(job.w, run.pool);
      for (const auto& [kind, step] : run.reshaping) {
        kind->reshape(job.w, *job.hessian, step, run.pool);
      }
      grids.push_back(fit_grid(job.fit, job.w, job.hessian->diagonal(), run.pool));
      problems.push_back({job.w, job.hessian, &grids.back(), {}, &job.fit});
    }
    solutions = solve_batch(problems, method, run.plan.recipe.solver, run.pool);
  }
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    const Job& job = jobs[k];
    TensorReport report = report_of(run, place, job, solutions[k]);
    if (run.hooks.inspect) run.hooks.inspect(problems[k], report);
    run.report.solve_gemm_flops += solutions[k].gemm_flops;
    const Matrix<std::byte> blocks = replace_weights(run, job, solutions[k]);
    if (job.linear->is_stacked) {
      stack_blocks(run, job, blocks);
    } else {
      const Stopwatch watch(&run.report.seconds.write);
      COLDPRESS_RETURN_IF_ERROR(
          run.hooks.put(job.linear->tensor_name,
                        {job.w, blocks.view(), &solutions[k].grid, solutions[k].codes.view()}));
    }
    note(run, std::move(report));
  }
  return {};
}

namespace {

// Experts, a few at a time: each has a Hessian of its own, which its gate and up share.
Status press_experts(Run& run, int block, const Tap& tap, const Gram& pooled, GramSource& source,
                     BlockWeights& weights) {
  int64_t experts = 0;
  for (const LinearRef& linear : tap.linears)
    experts = std::max<int64_t>(experts, linear.expert + 1);
  for (int64_t first = 0; first < experts; first += kExpertsAtOnce) {
    const int64_t count = std::min(kExpertsAtOnce, experts - first);
    const std::vector<Gram> grams = source.expert_grams(tap, first, count);
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
        std::optional<Job> job = make_job(run, linear, &hessians.back(), weights.linear(linear));
        if (!job) continue;
        job->tokens = own.tokens();
        job->policy = expert.policy;
        jobs.push_back(std::move(*job));
      }
    }
    if (!jobs.empty()) COLDPRESS_RETURN_IF_ERROR(press(run, run.method, {block, tap.name}, jobs));
  }
  for (const LinearRef& linear : tap.linears) {  // tensors of all experts, once each
    if (linear.expert != 0 || !linear.is_stacked) continue;
    if (run.planned.at(linear.tensor_name)->action != TensorAction::kQuantise) continue;
    const Stopwatch watch(&run.report.seconds.write);
    const auto blocks = run.stacked.extract(linear.tensor_name);
    COLDPRESS_RETURN_IF_ERROR(run.hooks.put(
        linear.tensor_name, {weights.linear(linear.role),
                             blocks.empty() ? View2<const std::byte>() : blocks.mapped().view()}));
  }
  return {};
}

}  // namespace

Status press_tap(Run& run, int block, const Tap& tap, TapSums sums, GramSource& grams,
                 BlockWeights& weights) {
  if (tap.by_expert) return press_experts(run, block, tap, sums.gram, grams, weights);
  COLDPRESS_ASSIGN_OR_RETURN(TapProblem problem,
                             tap_problem(run, fmt::format("block {} {}", block, tap.name),
                                         std::move(sums), run.residual_scale));
  // One by one: each fills the pool by itself or is small beside the others.
  for (const LinearRef& linear : tap.linears) {
    std::optional<Job> job = make_job(run, linear, &problem.hessian, weights.linear(linear));
    if (!job) continue;
    job->tokens = problem.tokens;
    job->shift = &problem.shift;
    COLDPRESS_RETURN_IF_ERROR(press(run, run.method, {block, tap.name}, {std::move(*job)}));
  }
  return {};
}

}  // namespace coldpress
