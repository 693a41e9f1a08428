// What the manifest says of the output: which tensor of the source was stored how.
#pragma once

#include <vector>

#include "export/export.h"
#include "io/json_type.h"

namespace coldpress {

// Completes the rows of manifest["tensors"] (one per tensor of the source, with "name", "action"
// and "stored_type") by the name, type and action that the output has for them. Dropped ones move
// to manifest["dropped"], with the reason; so do
// parts of packed weights. Tensors that only the output has go to manifest["added"]. Every tensor
// of the source must be in `output`: an unaccounted one is a bug (CHECKed).
void record_output(const std::vector<ExportedTensor>& output, Json* manifest);

}  // namespace coldpress
