#include "pipeline/press.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <numeric>
#include <span>
#include <utility>

#include "calibration/sum_chain.h"
#include "grid/block_format.h"
#include "hessian/off_diagonal.h"
#include "hessian/shrinkage.h"
#include "io/ggml_codec.h"
#include "pipeline/owners.h"
#include "pipeline/solved_linear.h"
#include "solver/batch.h"
#include "solver/bound.h"
#include "solver/fit_grid.h"

namespace coldpress {
namespace {

void shrink(Run& run, MatrixF& h, int64_t tokens, const TapBasis& basis) {
  const double share = run.plan.recipe.shrinkage.value_or(off_diagonal_share(h.rows(), tokens));
  shrink_off_diagonal(h.view(), share, basis, run.pool);
}

// Of a tap in errors.
std::string name_of(const TapPlace& place) {
  return place.block < 0 ? place.tap : fmt::format("block {} {}", place.block, place.tap);
}

TapBasis basis_of(const Run& run, const TapPlace& place, std::vector<float> scales) {
  return {run.model.tap_rotations(place.tap, std::max(0, place.block)), std::move(scales)};
}

TensorReport report_of(const TapPlace& place, const Job& job, const SolvedLinear& solved) {
  const LinearRef& linear = *job.linear;
  const LayerSolution& solution = solved.solution;
  TensorReport t;
  t.name = linear.tensor_name;
  t.role = linear.role;
  t.tap = place.tap;
  t.block = place.block;
  t.rows = linear.out;
  t.cols = linear.in;
  t.error = solution.relative_error();
  t.rtn_error = solution.relative_rtn_error();
  t.bound = solved.bound;
  t.calibration_tokens = solved.tokens;
  t.outcome = solution.outcome;
  t.side_bits_per_weight = solution.side_bits_per_weight();
  t.expert = linear.expert;
  t.policy = solved.policy;
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

bool is_solved(const Run& run, const LinearRef& linear) {
  if (run.planned.at(linear.tensor_name)->action != TensorAction::kQuantise) return true;
  return run.known.linears.contains({linear.tensor_name, linear.expert});
}

bool is_solved(const Run& run, const Tap& tap) {
  return std::ranges::all_of(tap.linears,
                             [&](const LinearRef& linear) { return is_solved(run, linear); });
}

Status pose_tap(Run& run, const TapPlace& place, TapSums sums, double residual_scale,
                const GramSource& grams, std::vector<Job>* jobs, TapProblem* problem) {
  std::vector<Job*> unsolved;
  std::vector<double> costs;
  for (Job& job : *jobs) {
    job.owner = 0;  // which has the journal
    if (is_solved(run, *job.linear)) continue;
    unsolved.push_back(&job);
    costs.push_back(solve_cost(job.w.rows, job.w.cols));
  }
  if (unsolved.empty()) return {};
  const std::vector<int> owners = assign_owners(costs, run.comm.size(), grams.home());
  for (std::size_t k = 0; k < unsolved.size(); ++k) unsolved[k]->owner = owners[k];
  COLDPRESS_RETURN_IF_ERROR(give_sums(grams.home(), owners, &sums, run.comm));
  if (std::find(owners.begin(), owners.end(), run.comm.rank()) == owners.end()) return {};
  const Stopwatch watch(&run.report.seconds.solve);
  problem->shift = TargetShift(sums, residual_scale, run.pool);
  sums.drift = {};
  MatrixF h = sums.gram.normalised();
  const int64_t tokens = sums.gram.tokens();
  sums.gram = {};
  shrink(run, h, tokens, basis_of(run, place, std::move(sums.scales)));
  COLDPRESS_ASSIGN_OR_RETURN(problem->hessian, TapHessian::create(name_of(place), h.view()));
  for (Job* job : unsolved) {
    if (job->owner != run.comm.rank()) continue;
    job->hessian = &*problem->hessian;
    job->shift = &problem->shift;
    job->tokens = tokens;
  }
  return {};
}

namespace {

// Whether this rank is to solve it.
bool is_own(const Run& run, const Job& job) {
  if (is_solved(run, *job.linear)) return false;
  return job.owner == kEveryRank || job.owner == run.comm.rank();
}

// What an earlier process found, where this rank has the journal.
Status recall(const Run& run, const Job& job, SolvedLinear* solved) {
  if (run.journal == nullptr) return {};
  COLDPRESS_ASSIGN_OR_RETURN(*solved, run.journal->read(job.linear->tensor_name, job.linear->expert,
                                                        *job.fit.kind, job.w.rows, job.w.cols));
  return {};
}

Status write_down(Run& run, const Job& job, const SolvedLinear& solved) {
  if (run.journal == nullptr) return {};
  const Stopwatch watch(&run.report.seconds.write);
  return run.journal->add(job.linear->tensor_name, job.linear->expert, solved);
}

std::vector<SolvedLinear> solve(Run& run, const SolverMethod& method, const TapPlace& place,
                                std::span<const Job* const> jobs) {
  std::vector<QuantGrid> grids;
  std::vector<LayerProblem> problems;
  std::vector<LayerSolution> solutions;
  {
    const Stopwatch watch(&run.report.seconds.solve);
    grids.reserve(jobs.size());
    for (const Job* job : jobs) {
      if (job->shift != nullptr) job->shift->apply(job->w, run.pool);
      for (const auto& [kind, step] : run.reshaping) {
        kind->reshape(job->w, *job->hessian, step, run.pool);
      }
      grids.push_back(fit_grid(job->fit, job->w, job->hessian->diagonal(), run.pool));
      problems.push_back({job->w, job->hessian, &grids.back(), {}, &job->fit});
    }
    solutions = solve_batch(problems, method, run.plan.recipe.solver, run.pool);
  }
  std::vector<SolvedLinear> all;
  for (std::size_t k = 0; k < jobs.size(); ++k) {
    const Job& job = *jobs[k];
    SolvedLinear solved{std::move(solutions[k]), 0, job.tokens, job.policy};
    if (solved.solution.energy > 0) {
      const Stopwatch watch(&run.report.seconds.bound);
      const double bits = job.planned->grid.bits + solved.solution.side_bits_per_weight();
      solved.bound = relative_bound(job.w, *job.hessian, bits, solved.solution.energy, run.pool);
    }
    if (run.hooks.inspect) run.hooks.inspect(problems[k], report_of(place, job, solved));
    all.push_back(std::move(solved));
  }
  return all;
}

Status hand_on(Run& run, const TapPlace& place, const Job& job, const SolvedLinear& solved) {
  const LayerSolution& solution = solved.solution;
  run.report.solve_gemm_flops += solution.gemm_flops;
  const Matrix<std::byte> blocks = replace_weights(run, job, solution);
  if (job.linear->is_stacked) {
    stack_blocks(run, job, blocks);
  } else {
    const Stopwatch watch(&run.report.seconds.write);
    COLDPRESS_RETURN_IF_ERROR(run.hooks.put(
        job.linear->tensor_name, {job.w, blocks.view(), &solution.grid, solution.codes.view()}));
  }
  note(run, report_of(place, job, solved));
  return {};
}

}  // namespace

Status press(Run& run, const SolverMethod& method, const TapPlace& place,
             const std::vector<Job>& jobs, bool side_by_side) {
  std::vector<const Job*> own;
  for (const Job& job : jobs) {
    if (is_own(run, job)) own.push_back(&job);
  }
  // Alone, one after the other is enough: a result is handed on before the next is in memory.
  const bool ahead = side_by_side || run.comm.size() > 1;
  std::vector<SolvedLinear> solved;  // in the order of `own`
  if (side_by_side && !own.empty()) {
    solved = solve(run, method, place, own);
  } else {
    for (std::size_t k = 0; ahead && k < own.size(); ++k) {
      solved.push_back(std::move(solve(run, method, place, {&own[k], 1}).front()));
    }
  }
  std::size_t next = 0;  // of `solved`
  for (const Job& job : jobs) {
    const Job* const one = &job;
    const bool is_known = is_solved(run, *job.linear);
    SolvedLinear result;
    if (is_known) {
      COLDPRESS_RETURN_IF_ERROR(recall(run, job, &result));
    } else if (is_own(run, job)) {
      result = ahead ? std::move(solved[next++])
                     : std::move(solve(run, method, place, {&one, 1}).front());
    }
    if (job.owner != kEveryRank) {
      COLDPRESS_RETURN_IF_ERROR(
          share_solved(job.owner, *job.fit.kind, job.linear->tensor_name, run.comm, &result));
    }
    if (!is_known) COLDPRESS_RETURN_IF_ERROR(write_down(run, job, result));
    COLDPRESS_RETURN_IF_ERROR(hand_on(run, place, job, result));
  }
  return {};
}

namespace {

// Experts, a few of every rank at a time: each has a Hessian of its own, which its gate and up
// share.
Status press_experts(Run& run, int block, const Tap& tap, TapSums sums, GramSource& source,
                     BlockWeights& weights) {
  std::vector<std::vector<Job>> experts;
  std::vector<double> costs;
  for (const LinearRef& linear : tap.linears) {
    const auto at = static_cast<std::size_t>(linear.expert);
    if (experts.size() <= at) experts.resize(at + 1);
    std::optional<Job> job = make_job(run, linear, nullptr, weights.linear(linear));
    if (job) experts[at].push_back(std::move(*job));
  }
  for (const std::vector<Job>& jobs : experts) {
    costs.push_back(0);
    for (const Job& job : jobs) {
      if (!is_solved(run, *job.linear)) costs.back() += solve_cost(job.w.rows, job.w.cols);
    }
  }
  if (!is_solved(run, tap)) {  // else there are none
    std::vector<int> every(static_cast<std::size_t>(run.comm.size()));
    std::iota(every.begin(), every.end(), 0);
    COLDPRESS_RETURN_IF_ERROR(give_sums(source.home(), every, &sums, run.comm));
  }
  const Gram& pooled = sums.gram;
  const TapBasis basis = basis_of(run, {block, tap.name}, std::move(sums.scales));
  const auto is_known = [&](const std::vector<Job>& jobs) {
    return std::ranges::all_of(jobs, [&](const Job& job) { return is_solved(run, *job.linear); });
  };
  const auto at_once = static_cast<std::size_t>(kExpertsAtOnce * run.comm.size());
  for (std::size_t first = 0; first < experts.size(); first += at_once) {
    const std::size_t count = std::min(at_once, experts.size() - first);
    const std::vector<int> owners =
        assign_owners(std::span(costs).subspan(first, count), run.comm.size(), source.home());
    const auto end = experts.begin() + static_cast<std::ptrdiff_t>(first + count);
    const bool all_solved = std::all_of(end - static_cast<std::ptrdiff_t>(count), end, is_known);
    std::vector<Gram> grams;
    if (!all_solved) {
      COLDPRESS_ASSIGN_OR_RETURN(grams,
                                 source.expert_grams(tap, static_cast<int64_t>(first), owners));
    }
    std::deque<TapHessian> hessians;
    std::vector<Job> jobs;
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<Job>& of_expert = experts[first + i];
      for (Job& job : of_expert) job.owner = is_solved(run, *job.linear) ? 0 : owners[i];
      if (owners[i] == run.comm.rank() && !is_known(of_expert)) {
        const Gram& own = grams[i];
        ExpertHessian expert = expert_hessian(own, pooled, own.n());
        shrink(run, expert.h, expert.tokens, basis);
        COLDPRESS_ASSIGN_OR_RETURN(
            TapHessian h, TapHessian::create(
                              fmt::format("{} of expert {}", name_of({block, tap.name}), first + i),
                              expert.h.view()));
        hessians.push_back(std::move(h));
        for (Job& job : of_expert) {
          job.hessian = &hessians.back();
          job.tokens = own.tokens();
          job.policy = expert.policy;
        }
      }
      std::move(of_expert.begin(), of_expert.end(), std::back_inserter(jobs));
    }
    if (!jobs.empty()) {
      COLDPRESS_RETURN_IF_ERROR(press(run, run.method, {block, tap.name}, jobs, true));
    }
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
  if (tap.by_expert) return press_experts(run, block, tap, std::move(sums), grams, weights);
  std::vector<Job> jobs;
  for (const LinearRef& linear : tap.linears) {
    std::optional<Job> job = make_job(run, linear, nullptr, weights.linear(linear));
    if (job) jobs.push_back(std::move(*job));
  }
  TapProblem problem;
  const TapPlace place{block, tap.name};
  COLDPRESS_RETURN_IF_ERROR(
      pose_tap(run, place, std::move(sums), run.residual_scale, grams, &jobs, &problem));
  // One by one: each fills the pool by itself or is small beside the others.
  return press(run, run.method, place, jobs);
}

}  // namespace coldpress
