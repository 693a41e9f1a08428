// Pre-flight: whether a named runtime will load what a plan makes, from metadata alone. What it
// would refuse hours later is refused here, with something that it takes instead.
#pragma once

#include <string>

#include "base/status.h"
#include "model/model.h"
#include "pipeline/plan.h"

namespace coldpress {

struct Target {
  std::string loader;           // "vllm", "transformers" or "llama.cpp"; empty: no check
  int64_t tensor_parallel = 1;  // devices that share every layer
};

// Names of the loaders, for usage errors.
inline constexpr const char* kTargetLoaders[] = {"vllm", "transformers", "llama.cpp"};

// `out`: the output's name, empty if it is not known yet.
Status check_target(const Model& model, const Plan& plan, const Target& target,
                    const std::string& out);

}  // namespace coldpress
