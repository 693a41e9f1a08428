// Where the Grams of a model's taps come from: calibration windows that are run through it
// (calibration/streamer.h), or a file (calibration/imatrix_grams.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "hessian/gram.h"
#include "model/model.h"

namespace coldpress {

// Seconds that workers spent, summed over workers.
struct StreamTimes {
  double forward = 0;
  double gram = 0;
};

class GramSource {
 public:
  virtual ~GramSource() = default;

  // Before the first block, with the embeddings as the output will hold them.
  virtual Status embed(const HeadWeights& head) = 0;
  // The Gram of taps[stage] of `block`, with the block's weights as they are now; an empty one
  // after the last tap. Called for each block and stage in order. Where the tap is an input of
  // experts, it is pooled over all of them.
  virtual Result<Gram> run_stage(const BlockWeights& weights, int block, int stage,
                                 const std::vector<Tap>& taps) = 0;
  // Grams of experts first, ..., first + count - 1 at the tap that run_stage returned last.
  virtual std::vector<Gram> expert_grams(const Tap& tap, int64_t first, int64_t count) = 0;

  // After the last block: the Gram of what the head reads.
  virtual Result<Gram> head_gram(const HeadWeights& head) = 0;

  virtual StreamTimes times() const { return {}; }
};

}  // namespace coldpress
