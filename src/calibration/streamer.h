// Runs the calibration windows through one stage of one block, and sums the Gram of the tap it ends
// in. Windows are grouped in shards of fixed size: a shard is one task, its Gram an fp32 sum,
// merged in fp64 in shard order (hessian/gram.h).
#pragma once

#include <cstdint>
#include <vector>

#include "calibration/activation_store.h"
#include "calibration/gram_source.h"
#include "calibration/windows.h"
#include "hessian/gram.h"
#include "model/model.h"
#include "parallel/thread_pool.h"

namespace coldpress {

class CalibrationStreamer final : public GramSource {
 public:
  // Keeps references to all three; they must outlive it.
  CalibrationStreamer(const Model& model, const CalibrationWindows& windows, ThreadPool& pool);

  // Fills the residual streams with the windows' embeddings.
  Status embed(const HeadWeights& head) override;

  // Stage `stage` of `block` over all windows: from taps[stage - 1] to taps[stage], whose Gram it
  // returns; an empty one after the last tap. Where the tap is an input of experts, the Gram is
  // pooled over all of them: a row for each expert that a token goes to.
  Result<Gram> run_stage(const BlockWeights& weights, int block, int stage,
                         const std::vector<Tap>& taps) override;

  // After the last block: the Gram of what the head reads.
  Result<Gram> head_gram(const HeadWeights& head) override;

  // Grams of experts first, ..., first + count - 1, each over the rows of the last tap, `tap`, that
  // are routed to it and no others. Rows are gathered from the store; no copy of it is made.
  std::vector<Gram> expert_grams(const Tap& tap, int64_t first, int64_t count) override;

  StreamTimes times() const override { return times_; }

 private:
  const CalibrationWindows& windows_;
  ThreadPool& pool_;
  ActivationStore store_;
  std::vector<StageRunner> runners_;   // one per worker
  std::vector<MatrixF> tap_scratch_;   // one per worker: the tap being written
  std::vector<MatrixF> gram_scratch_;  // one per worker: the shard's Gram
  std::vector<Routes> routes_;         // per window, of the current block
  StreamTimes times_;

  // The Gram of (windows * length * slots) rows of width / slots; fill(runner, w, tap) computes
  // those of window w into tap (length, width).
  template <typename Fill>
  Result<Gram> sum_gram(int64_t width, int64_t slots, Fill fill);
  Gram expert_gram(const Tap& tap, int64_t expert);
};

// Peak bytes of the streamer beyond the weights, for the plan.
int64_t streamer_bytes(const Model& model, int64_t windows, int64_t length, int threads);

}  // namespace coldpress
