// A stage whose tap the recipe's transforms scale (SmoothQuant, AWQ): the norm before the tap and
// all that reads it change between the stage's forward pass and its Gram.
#pragma once

#include <optional>
#include <vector>

#include "base/status.h"
#include "calibration/gram_source.h"
#include "model/model.h"
#include "pipeline/press.h"

namespace coldpress {

struct StagePlace {
  int block;
  int stage;
};

// GramSource::run_stage, with the scales that the recipe's transforms find on the way. Changed
// weights go to `weights`, to `source` (the unquantised model's, where it runs too) and, where the
// plan does not solve them, to the hooks.
Result<TapSums> run_scaled_stage(Run& run, const Model& model, StagePlace place,
                                 const std::vector<Tap>& taps, GramSource& grams,
                                 BlockWeights& weights, std::optional<BlockWeights>& source);

}  // namespace coldpress
