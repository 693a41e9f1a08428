// Where the Grams of a model's taps come from: calibration windows that are run through it
// (calibration/streamer.h), or a file (calibration/imatrix_grams.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "hessian/drift.h"
#include "hessian/gram.h"
#include "model/model.h"

namespace coldpress {

// Seconds that workers spent, summed over workers.
struct StreamTimes {
  double forward = 0;
  double gram = 0;
};

// What a run learns of one tap.
struct TapSums {
  Gram gram;
  Drift drift;  // of a source that runs the unquantised model beside the pressed one
  std::vector<float> scales = {};  // that transforms divided the tap by, (n); empty: none
};

// A tap before its values are rounded to the model's activation bits, for transforms that scale it.
struct OpenTap {
  Gram gram;
  std::vector<float> max_abs;   // per channel, over all tokens
  std::vector<float> mean_abs;  // likewise
  MatrixF sample;               // the inputs of some tokens, (rows, width)
};

// In place of a rank: all of them.
inline constexpr int kEveryRank = -1;

class GramSource {
 public:
  virtual ~GramSource() = default;

  // The rank that has what run_stage(), open_tap(), close_tap() and head_gram() return; others get
  // matrices of the same shapes with anything in them (calibration/sum_chain.h), and of an open tap
  // vectors of the same lengths.
  virtual int home() const { return kEveryRank; }

  // True: run_stage() and head_gram() need the weights that the source model has, too.
  virtual bool follows_source() const { return false; }

  // Before the first block, with the embeddings as the output will hold them.
  virtual Status embed(const HeadWeights& head) = 0;
  // The same with the embeddings that the source model has, where follows_source().
  virtual Status embed_source(const HeadWeights& /*head*/) { return {}; }
  // The Gram of taps[stage] of `block`, with the block's weights as they are now; an empty one
  // after the last tap. Called for each block and stage in order. Where the tap is an input of
  // experts, it is pooled over all of them. `source`: the unquantised weights, where
  // follows_source(); else ignored.
  virtual Result<TapSums> run_stage(const BlockWeights& weights, const BlockWeights* source,
                                    int block, int stage, const std::vector<Tap>& taps) = 0;
  // run_stage in two steps: first the tap as it is, then, with the weights changed to suit, divided
  // channel by channel by `scales` and rounded. Of taps with one slot.
  virtual Result<OpenTap> open_tap(const BlockWeights& weights, const BlockWeights* source,
                                   int block, int stage, const std::vector<Tap>& taps);
  virtual Result<TapSums> close_tap(const BlockWeights& weights, int block, int stage,
                                    const std::vector<Tap>& taps, std::span<const float> scales);
  // Grams of experts first, first + 1, ... at the tap that run_stage returned last, each for the
  // rank that owns it; the others get it empty.
  virtual Result<std::vector<Gram>> expert_grams(const Tap& tap, int64_t first,
                                                 std::span<const int> owners) = 0;

  // After the last block: the Gram of what the head reads.
  virtual Result<TapSums> head_gram(const HeadWeights& head) = 0;

  // While off, stages run as ever and give empty sums: of taps whose linears are solved already.
  virtual void measure(bool /*on*/) {}

  // What is carried from block to block, for another process to go on with. A source that carries
  // nothing has 0 bytes.
  virtual int64_t state_bytes() const { return 0; }
  using WriteBytes = std::function<Status(std::span<const std::byte>)>;
  using ReadBytes = std::function<Status(std::span<std::byte>)>;
  virtual Status save(const WriteBytes& /*write*/) { return {}; }
  // In place of embed() and of all blocks up to the one that it was saved after.
  virtual Status restore(const ReadBytes& /*read*/) { return {}; }

  virtual StreamTimes times() const { return {}; }
};

}  // namespace coldpress
