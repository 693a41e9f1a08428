// Runs the calibration windows through one stage of one block, and sums the Gram of the tap it ends
// in. Windows are grouped in shards of fixed size: a shard is one task, its Gram an fp32 sum,
// merged in fp64 in shard order (hessian/gram.h). Ranks share the shards
// (calibration/shard_share.h); the sums are the same bytes for any number of them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/memory.h"
#include "calibration/activation_store.h"
#include "calibration/gram_source.h"
#include "calibration/shard_share.h"
#include "calibration/windows.h"
#include "distributed/comm.h"
#include "hessian/gram.h"
#include "linalg/bf16.h"
#include "model/model.h"
#include "parallel/thread_pool.h"

namespace coldpress {

// What the streamer's large buffers are made of.
struct StreamerMemory {
  const Memory* activations = &main_memory();  // the stores
  const Memory* sums = &main_memory();         // of a tap, fp64
  const Memory* scratch = &main_memory();      // of workers: the shards' sums, fp32
  TapType taps = TapType::kHalf;               // in the stores
};

class CalibrationStreamer final : public GramSource {
 public:
  // Keeps references to all of them; they must outlive it. With `follow_source`, the windows run
  // through the unquantised model as well, and taps come with their drift. `comm`: the ranks that
  // share the windows, of which each has all; null: this process runs them alone.
  CalibrationStreamer(const Model& model, const CalibrationWindows& windows, ThreadPool& pool,
                      bool follow_source = false, const StreamerMemory& memory = {},
                      Comm* comm = nullptr);

  int home() const override { return share_.home(); }
  bool follows_source() const override { return source_.has_value(); }

  // Fills the residual streams with the windows' embeddings.
  Status embed(const HeadWeights& head) override;
  Status embed_source(const HeadWeights& head) override;

  // Stage `stage` of `block` over all windows: from taps[stage - 1] to taps[stage], whose Gram it
  // returns; an empty one after the last tap. Where the tap is an input of experts, the Gram is
  // pooled over all of them: a row for each expert that a token goes to.
  Result<TapSums> run_stage(const BlockWeights& weights, const BlockWeights* source, int block,
                            int stage, const std::vector<Tap>& taps) override;

  Result<OpenTap> open_tap(const BlockWeights& weights, const BlockWeights* source, int block,
                           int stage, const std::vector<Tap>& taps) override;
  Result<TapSums> close_tap(const BlockWeights& weights, int block, int stage,
                            const std::vector<Tap>& taps, std::span<const float> scales) override;

  // After the last block: the Gram of what the head reads.
  Result<TapSums> head_gram(const HeadWeights& head) override;

  // Grams of experts, each over the rows of the last tap, `tap`, that are routed to it and no
  // others, in the order of the windows. Rows of the owner's windows are read where they are
  // stored; other ranks send theirs, shard by shard.
  Result<std::vector<Gram>> expert_grams(const Tap& tap, int64_t first,
                                         std::span<const int> owners) override;

  void measure(bool on) override { is_measuring_ = on; }
  // The windows' residual streams, window by window; then those of the unquantised model.
  int64_t state_bytes() const override;
  Status save(const WriteBytes& write) override;
  Status restore(const ReadBytes& read) override;

  StreamTimes times() const override { return times_; }

 private:
  struct Runner {
    StageRunner stage;
    MatrixF previous;  // the tap that a stage starts from
  };
  // A shard's sums over its windows of one parity, or over all where drift is not measured.
  struct ShardSums {
    int64_t windows = 0;
    MatrixF gram;   // (n, n), lower triangle
    MatrixF drift;  // as in Drift
  };
  struct Scratch {
    MatrixF tap;     // being written
    MatrixF source;  // the unquantised model's, then its distance from the tap
    MatrixF stream;  // distance of the residual streams with what W adds
    Bf16Scratch products;
    std::array<ShardSums, 2> sums;
  };

  const CalibrationWindows& windows_;
  ThreadPool& pool_;
  LocalComm alone_;
  Comm& comm_;
  StreamerMemory memory_;
  int64_t hidden_;
  float residual_scale_;
  int64_t widest_tap_;
  // Filled by embed(). From there on windows are counted among those of this rank.
  ShardShare share_;
  bool is_shared_ = false;
  ActivationStore store_;
  std::optional<ActivationStore> source_;  // of the unquantised model
  // One per worker; those of the unquantised model, where it is followed, round nothing.
  std::vector<Runner> runners_;
  std::vector<Runner> source_runners_;
  std::vector<Scratch> scratch_;  // one per worker
  std::vector<Routes> routes_;    // per window of this rank, of the current block
  StreamTimes times_;
  bool is_measuring_ = true;

  // What to sum over the windows' rows, of width / slots inputs each.
  struct Measure {
    int64_t width;
    int64_t slots = 1;
    bool drift = false;
    View2<const float> stream_w = {};  // W, where drift is that of the stream (hessian/drift.h)
  };
  // Computes window w's rows (length, width) into `tap`.
  using Fill = std::function<Status(Runner& runner, int64_t w, View2<float> tap)>;
  // `fill_source`: the same in the unquantised model; empty where it is not followed.
  Result<TapSums> sum_gram(const Measure& measure, const Fill& fill, const Fill& fill_source);
  Result<TapSums> start_sums(const Measure& measure) const;
  Status add_window(const Measure& measure, int64_t w, Scratch& scratch);
  // Adds the sums of a turn of this rank, which ends with shard `last`, in order.
  Status merge_turn(std::span<const std::array<ShardSums, 2>* const> turn, int64_t last,
                    TapSums* sums);

  // Once: which windows are this rank's.
  Status share_windows();
  Status embed_into(ActivationStore& store, const HeadWeights& head);
  // `rounded`: the tap, to the model's activation bits.
  Status run_window(Runner& runner, const BlockWeights& weights, int block, int stage,
                    int64_t previous_width, ActivationStore& store, int64_t w, bool rounded,
                    View2<float> tap);
  Measure measure_of(const Tap& tap, const BlockWeights& weights) const;
  Status create_store(ActivationStore& store);
  Status each_residual(const std::function<Status(View2<float>)>& visit);
  // row(values) for each input of the expert in one of this rank's shards, in order.
  void each_row(const Tap& tap, int64_t expert, int64_t own_shard,
                const std::function<void(const float* row)>& row);
};

// Bytes of its large buffers, for the plan.
struct StreamerBytes {
  int64_t activations = 0;
  int64_t sums = 0;     // of the tap in work
  int64_t scratch = 0;  // likewise: shards' sums of all workers
  int64_t windows = 0;  // likewise: the rows that workers have at hand
};
// `tap`: null where there is none.
StreamerBytes streamer_bytes(const Model& model, const Tap* tap, int64_t windows, int64_t length,
                             int threads, bool follow_source);

}  // namespace coldpress
