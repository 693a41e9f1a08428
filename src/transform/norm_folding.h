// Norm gains move into the matrices that read the norm's output.
#pragma once

#include <string_view>
#include <vector>

#include "model/model.h"
#include "transform/weight_edits.h"

namespace coldpress {

// Gains become 1 and biases are divided by what the gains were. Channels of gain 0 keep it.
// `with_head`: the last norm's too, for which tied embeddings are untied; without it, only where
// they are not tied.
void fold_norms(const Model& model, bool with_head, WeightEdits& edits);

}  // namespace coldpress
