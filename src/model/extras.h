// Tensors of a checkpoint that the language model's own forward pass never reads.
#pragma once

#include <optional>
#include <string>

#include "model/model.h"

namespace coldpress {

// What a tensor that plays no role is there for (a prediction head for later tokens, an encoder of
// images, a buffer that follows from the configuration), in words; nullopt if it is not known.
std::optional<std::string> known_extra(const Model& model, const SourceTensor& tensor);

}  // namespace coldpress
