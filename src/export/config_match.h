// Whether a configuration survived being written in the other container.
#pragma once

#include <optional>
#include <string>

#include "model/config.h"

namespace coldpress {

// The first thing that two configurations of the same model disagree on, in words; nullopt if both
// compute the same function. Numbers are compared as fp32, which is what GGUF stores. Where tensors
// are kept differently on purpose (order of rotary rows, offset of gains), no difference.
std::optional<std::string> first_difference(const ModelConfig& a, const ModelConfig& b);

}  // namespace coldpress
