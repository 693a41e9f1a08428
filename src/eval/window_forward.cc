#include "eval/window_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace coldpress {
namespace {

Status first_error(const std::vector<Status>& statuses) {
  for (const Status& s : statuses) {
    if (!s.ok()) return s;
  }
  return {};
}

}  // namespace

WindowForward::WindowForward(const Model& model, const EvalWindows& windows, ThreadPool& pool)
    : model_(model),
      windows_(windows),
      pool_(pool),
      residual_(windows.count() * windows.context, model.config().hidden),
      taps_(static_cast<std::size_t>(pool.threads())) {
  for (int i = 0; i < pool.threads(); ++i) runners_.emplace_back(model.config());
}

View2<float> WindowForward::residual(int64_t w) {
  return residual_.view().row_range(w * windows_.context, windows_.context);
}

template <typename F>
Status WindowForward::for_each_window(const F& f) {
  std::vector<Status> statuses(static_cast<std::size_t>(windows_.count()));
  pool_.for_each(windows_.count(), [&](int64_t w, int worker) {
    statuses[static_cast<std::size_t>(w)] = f(w, worker);
  });
  return first_error(statuses);
}

Status WindowForward::run(const std::function<void()>& block_done) {
  for (const int32_t id : windows_.inputs) {
    if (id < 0 || id >= model_.config().vocab) {
      return invalid_argument(
          fmt::format("token {} of the text is outside the model's vocabulary of {}; the "
                      "tokenizer belongs to "
                      "another model",
                      id, model_.config().vocab));
    }
  }
  {
    COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model_));
    COLDPRESS_RETURN_IF_ERROR(for_each_window([&](int64_t w, int worker) {
      const auto first = windows_.inputs.begin() + w * windows_.context;
      const std::span<const int32_t> ids(first, first + windows_.context);
      return runner(worker).embed(head, ids, residual(w));
    }));
  }
  for (int block = 0; block < model_.config().blocks; ++block) {
    COLDPRESS_RETURN_IF_ERROR(run_block(block));
    block_done();
  }
  return {};
}

Status WindowForward::run_block(int block) {
  COLDPRESS_ASSIGN_OR_RETURN(const BlockWeights weights, BlockWeights::load(model_, block));
  const std::vector<Tap> taps = model_.taps(block);
  return for_each_window([&](int64_t w, int worker) -> Status {
    std::vector<MatrixF>& scratch = taps_[static_cast<std::size_t>(worker)];
    scratch.resize(taps.size());
    for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
      View2<const float> in;
      View2<float> out;
      if (stage > 0) in = scratch[stage - 1].view();
      if (stage < taps.size()) {
        MatrixF& tap = scratch[stage];
        if (tap.rows() != windows_.context || tap.cols() != taps[stage].width) {
          tap = MatrixF(windows_.context, taps[stage].width);
        }
        out = tap.view();
      }
      COLDPRESS_RETURN_IF_ERROR(
          runner(worker).run(weights, block, static_cast<int>(stage), residual(w), in, out));
    }
    return {};
  });
}

Status WindowForward::load_head() {
  for (std::vector<MatrixF>& scratch : taps_) scratch.clear();
  COLDPRESS_ASSIGN_OR_RETURN(HeadWeights head, HeadWeights::load(model_));
  head_.emplace(std::move(head));
  return {};
}

Status WindowForward::logits(int worker, int64_t w, int64_t at, View2<float> logits) {
  COLDPRESS_CHECK(head_.has_value());
  return runner(worker).logits(*head_, residual(w).row_range(at, logits.rows), logits);
}

ScoredRows::Task ScoredRows::task(int64_t i) const {
  const int64_t skip = (i % per_window()) * kRows;
  const int64_t window = i / per_window();
  return {window, windows_.first_scored + skip, std::min(kRows, windows_.scored - skip),
          window * windows_.scored + skip};
}

Status ScoredRows::for_each(ThreadPool& pool, int64_t steps,
                            const std::function<Status(const Task&, int worker)>& f,
                            const std::function<void()>& step_done) const {
  std::vector<Status> statuses(static_cast<std::size_t>(count()));
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t first = count() * step / steps;
    const int64_t last = count() * (step + 1) / steps;
    pool.for_each(last - first, [&](int64_t i, int worker) {
      statuses[static_cast<std::size_t>(first + i)] = f(task(first + i), worker);
    });
    step_done();
  }
  return first_error(statuses);
}

int64_t head_steps(const ModelConfig& c, const EvalWindows& windows) {
  const double block = static_cast<double>(2 * c.hidden * c.head_dim * (c.heads + c.kv_heads) +
                                           3 * c.hidden * c.ffn) *
                       static_cast<double>(windows.context);
  const double head = static_cast<double>(c.vocab * c.hidden) * static_cast<double>(windows.scored);
  return std::max<int64_t>(1, std::llround(head / std::max(1.0, block)));
}

}  // namespace coldpress
