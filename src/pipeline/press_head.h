// Tensors outside the blocks that a mix of GGUF types quantises: embeddings and the head.
#pragma once

#include "base/status.h"
#include "calibration/gram_source.h"
#include "model/model.h"
#include "pipeline/press.h"

namespace coldpress {

// Before the blocks: embeddings that are not the head too, each row rounded by itself. `head` gets
// the values that the output will hold, so that every block sees them.
Status press_embedding(Run& run, const Model& model, HeadWeights* head);

// After the blocks: the head, solved against what it reads. Tied embeddings are solved here, as the
// head; the blocks have then seen them as the source has them.
Status press_head(Run& run, const Model& model, GramSource& grams);

}  // namespace coldpress
