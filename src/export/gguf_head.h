// GGUF metadata for a model that came as a Hugging Face folder.
#pragma once

#include "base/status.h"
#include "export/layout.h"
#include "model/model.h"
#include "tokenizer/vocab.h"

namespace coldpress {

// Rotary factors that GGUF keeps as a tensor (Llama-3 scaling): one per pair, or empty.
std::vector<float> rope_factor_tensor(const ModelConfig& config);

// Records what runs along with the model; nothing if that is nothing.
void put_online_parts(const OnlineParts& online, GgufMetadata& metadata);

// Configuration and vocabulary. Read back by the program's own reader, together with `tensors`, it
// gives the source's configuration; a model that GGUF cannot express is refused, naming what.
// `tokenizer_pre`: as in ExportRequest.
Result<GgufMetadata> gguf_metadata_of(const Model& model, const std::vector<OutputTensor>& tensors,
                                      const std::string& tokenizer_pre = {});

}  // namespace coldpress
