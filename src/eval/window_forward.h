// The forward pass of an evaluation: all windows at once through one block after the other, so that
// each block's weights are loaded once; then logits of the rows that are scored.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "eval/protocol.h"
#include "model/model.h"
#include "parallel/thread_pool.h"

namespace coldpress {

// The same values for any thread count. Keeps windows * context * hidden floats.
class WindowForward {
 public:
  // Keeps references to all three; they must outlive it.
  WindowForward(const Model& model, const EvalWindows& windows, ThreadPool& pool);

  // Embeds the windows and runs all blocks; `block_done` is called after each. Tokens outside the
  // model's vocabulary are an error.
  Status run(const std::function<void()>& block_done);

  // Loads what logits() needs; after run().
  Status load_head();
  // logits (rows, vocab) <- positions [at, at + logits.rows) of window w. Called by the pool's
  // workers, each with its own number.
  Status logits(int worker, int64_t w, int64_t at, View2<float> logits);

 private:
  template <typename F>
  Status for_each_window(const F& f);
  Status run_block(int block);
  View2<float> residual(int64_t w);
  StageRunner& runner(int worker) { return runners_[static_cast<std::size_t>(worker)]; }

  const Model& model_;
  const EvalWindows& windows_;
  ThreadPool& pool_;
  MatrixF residual_;                        // (windows * context, hidden)
  std::vector<StageRunner> runners_;        // one per worker
  std::vector<std::vector<MatrixF>> taps_;  // per worker and tap, (context, width)
  std::optional<HeadWeights> head_;
};

// Rows of logits that are scored at once, as tasks of fixed size: the same for any thread count.
class ScoredRows {
 public:
  struct Task {
    int64_t window = 0;
    int64_t at = 0;    // the first position in the window
    int64_t rows = 0;  // at most kRows
    int64_t out = 0;   // its place among all scored tokens, window by window
  };
  static constexpr int64_t kRows = 256;

  explicit ScoredRows(const EvalWindows& windows) : windows_(windows) {}
  int64_t count() const { return windows_.count() * per_window(); }
  Task task(int64_t i) const;
  // The token that row `i` of a task predicts.
  int32_t target(const Task& task, int64_t i) const {
    return windows_.targets[static_cast<std::size_t>(task.window * windows_.context + task.at + i)];
  }

  // Runs f(task, worker) for all of them in `steps` parts, and calls `step_done` after each. The
  // first error in task order is returned.
  Status for_each(ThreadPool& pool, int64_t steps,
                  const std::function<Status(const Task&, int worker)>& f,
                  const std::function<void()>& step_done) const;

 private:
  int64_t per_window() const { return (windows_.scored + kRows - 1) / kRows; }
  const EvalWindows& windows_;
};

// The work of scoring, with one block's as the unit; at least 1. For progress.
int64_t head_steps(const ModelConfig& config, const EvalWindows& windows);

}  // namespace coldpress
