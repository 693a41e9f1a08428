// OLMo 2: no norms before attention and feed-forward, but of what they add; RMS norms over all of q
// and all of k, not per head.
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"olmo2"};

constexpr RoleSpec whole(RoleSpec norm, Extent cols) {
  norm.cols = cols;
  return norm;
}

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd,
    roles::kOutputNorm,
    roles::kOutput,
    roles::kAttnQ,
    roles::kAttnK,
    roles::kAttnV,
    roles::kAttnQBias,
    roles::kAttnKBias,
    roles::kAttnVBias,
    whole(roles::kAttnQNorm, Extent::kQuery),
    whole(roles::kAttnKNorm, Extent::kKeyValue),
    roles::kAttnO,
    roles::kAttnOBias,
    roles::kAttnPostNorm,
    roles::kFfnGate,
    roles::kFfnUp,
    roles::kFfnDown,
    roles::kFfnPostNorm,
};

}  // namespace

extern const Architecture kArchitecture_olmo2;
const Architecture kArchitecture_olmo2 = {
    .name = "olmo2",
    .hf_model_types = kModelTypes,
    .hf_class = "Olmo2ForCausalLM",
    .gguf_name = "olmo2",
    .roles = kRoles,
    .default_norm_eps = 1e-5,
};

}  // namespace coldpress
