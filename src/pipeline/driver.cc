#include "pipeline/driver.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/memory.h"
#include "calibration/streamer.h"
#include "pipeline/press.h"
#include "pipeline/press_head.h"
#include "pipeline/ranks.h"
#include "pipeline/scaled_stage.h"
#include "pipeline/work_folder.h"

namespace coldpress {
namespace {

// How many blocks an earlier process left behind it, with the activations after them in `grams`.
Result<int> restored_blocks(const Run& run, const Model& model, GramSource& grams) {
  // Of several ranks each has but its own windows' activations: known blocks run again, unmeasured.
  if (run.hooks.work == nullptr || run.comm.size() > 1) return 0;
  int known = 0;
  const auto is_known = [&](int block) {
    const std::vector<Tap> taps = model.taps(block);
    return std::ranges::all_of(taps, [&](const Tap& tap) { return is_solved(run, tap); });
  };
  while (known < run.blocks && is_known(known)) ++known;
  return run.hooks.work->restore(grams, known);
}

}  // namespace

Result<RunReport> run_plan(const Model& model, const Plan& plan, const CalibrationWindows& windows,
                           const DriverHooks& hooks, ThreadPool& pool, const RunMemory& memory,
                           Comm* comm) {
  CalibrationStreamer streamer(model, windows, pool, plan.recipe.propagate, memory.streamer, comm);
  return run_plan(model, plan, streamer, hooks, pool, memory, comm);
}

Result<RunReport> run_plan(const Model& model, const Plan& plan, GramSource& grams,
                           const DriverHooks& hooks, ThreadPool& pool, const RunMemory& memory,
                           Comm* comm) {
  LocalComm alone;
  COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(plan.recipe.method));
  Run run{model,
          plan,
          *method,
          hooks,
          pool,
          comm != nullptr ? *comm : alone,
          {},
          0,
          static_cast<int>(model.config().blocks),
          model.config().residual_scale,
          {}};
  for (const TransformStep& step : plan.recipe.transform.steps) {
    COLDPRESS_ASSIGN_OR_RETURN(const TransformKind* kind, find_transform(step.name));
    if (kind->reshape != nullptr) run.reshaping.emplace_back(kind, step);
  }
  for (const PlannedTensor& t : plan.tensors) {
    run.linears += t.linears;
    run.planned[t.name] = &t;
  }
  if (hooks.work != nullptr) {
    run.journal = &hooks.work->journal();
    run.known = run.journal->known();
  }
  PhaseTimes& seconds = run.report.seconds;
  {
    const Stopwatch total(&seconds.total);
    {
      COLDPRESS_RETURN_IF_ERROR(share_known(&run.known, run.comm));
      COLDPRESS_ASSIGN_OR_RETURN(run.first_block, restored_blocks(run, model, grams));
      COLDPRESS_ASSIGN_OR_RETURN(
          HeadWeights head,
          HeadWeights::load(model, HeadWeights::Part::kEmbedding, *memory.weights));
      const bool embeds = run.first_block == 0;
      if (embeds && grams.follows_source()) COLDPRESS_RETURN_IF_ERROR(grams.embed_source(head));
      COLDPRESS_RETURN_IF_ERROR(press_embedding(run, model, &head));
      if (embeds) COLDPRESS_RETURN_IF_ERROR(grams.embed(head));
    }
    seconds.blocks.resize(static_cast<std::size_t>(run.blocks));
    for (int block = 0; block < run.blocks; ++block) {
      const Stopwatch whole(&seconds.blocks[static_cast<std::size_t>(block)]);
      auto load_watch = std::make_unique<Stopwatch>(&seconds.load);
      COLDPRESS_ASSIGN_OR_RETURN(BlockWeights weights,
                                 BlockWeights::load(model, block, *memory.weights));
      std::optional<BlockWeights> source;
      if (grams.follows_source() && block >= run.first_block) {
        COLDPRESS_ASSIGN_OR_RETURN(source, BlockWeights::load(model, block, *memory.weights));
      }
      load_watch.reset();
      if (block + 1 < run.blocks) BlockWeights::read_ahead(model, block + 1);
      const std::vector<Tap> taps = model.taps(block);
      for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
        COLDPRESS_ASSIGN_OR_RETURN(
            TapSums sums, run_scaled_stage(run, model, {block, static_cast<int>(stage)}, taps,
                                           grams, weights, source));
        if (stage == taps.size()) break;
        COLDPRESS_RETURN_IF_ERROR(
            press_tap(run, block, taps[stage], std::move(sums), grams, weights));
        if (run.journal != nullptr) COLDPRESS_RETURN_IF_ERROR(run.journal->flush());
      }
      if (hooks.work != nullptr && run.comm.size() == 1 && block >= run.first_block) {
        COLDPRESS_RETURN_IF_ERROR(hooks.work->save(grams, block));
      }
      trim_heap();  // else it grows from block to block, by the holes between what is still in use
    }
    COLDPRESS_RETURN_IF_ERROR(press_head(run, model, grams));
    if (run.journal != nullptr) COLDPRESS_RETURN_IF_ERROR(run.journal->flush());
    seconds.forward = grams.times().forward / pool.threads();
    seconds.gram = grams.times().gram / pool.threads();
  }
  if (!run.report.tensors.empty()) {
    const auto count = static_cast<double>(run.report.tensors.size());
    run.report.mean_error /= count;
    run.report.mean_rtn_error /= count;
    run.report.mean_bound /= count;
  }
  return std::move(run.report);
}

}  // namespace coldpress
