// From what a source says about itself to a ModelConfig. Hostile input is one clear sentence.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/gguf.h"
#include "io/json_type.h"
#include "model/config.h"
#include "model/table.h"

namespace coldpress {

// config.json of a Hugging Face folder; `where` names it in errors.
Result<ModelConfig> parse_hf_config(std::string_view json_text, const std::string& where);
// The part of a config.json that describes the language model: all of it, or, of a model that also
// takes images or sound, the object inside ("text_config") with its family's defaults where it is
// silent and with what only the whole says of it.
Result<Json> hf_language_config(const Json& json, const std::string& where);
// The metadata of a GGUF file and the presence of its output tensor. RoPE factors that are stored
// as a tensor are not read here.
Result<ModelConfig> parse_gguf_config(const GgufContent& content, const std::string& where);

}  // namespace coldpress
