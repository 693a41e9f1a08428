// From what a source says about itself to a ModelConfig. Hostile input is one clear sentence.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/gguf.h"
#include "model/config.h"
#include "model/table.h"

namespace coldpress {

// config.json of a Hugging Face folder; `where` names it in errors.
Result<ModelConfig> parse_hf_config(std::string_view json_text, const std::string& where);
// The metadata of a GGUF file and the presence of its output tensor. RoPE factors that are stored
// as a tensor are not read here.
Result<ModelConfig> parse_gguf_config(const GgufContent& content, const std::string& where);

}  // namespace coldpress
