// Mixtral: Mistral's attention with a mixture of experts. GGUF calls it llama, with experts.
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"mixtral"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd,
    roles::kOutputNorm,
    roles::kOutput,
    roles::kRopeFactors,
    roles::kAttnNorm,
    roles::kAttnQ,
    roles::kAttnK,
    roles::kAttnV,
    roles::kAttnO,
    roles::kFfnNorm,
    roles::kFfnRouter.in_hf("model.layers.{}.block_sparse_moe.gate.weight"),
    roles::kFfnGateExps.in_hf("model.layers.{}.block_sparse_moe.experts.{}.w1.weight"),
    roles::kFfnUpExps.in_hf("model.layers.{}.block_sparse_moe.experts.{}.w3.weight"),
    roles::kFfnDownExps.in_hf("model.layers.{}.block_sparse_moe.experts.{}.w2.weight"),
};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", 0, 1, kMaxContext));
  if (window > 0) {
    config.sliding_window.assign(static_cast<std::size_t>(config.blocks), window);
  }
  return {};
}

bool claims_gguf(const GgufContent& content) {
  const GgufValue* experts = content.find("llama.expert_count");
  return experts != nullptr && experts->as_int().value_or(0) > 0;
}

}  // namespace

extern const Architecture kArchitecture_mixtral;
const Architecture kArchitecture_mixtral = {
    .name = "mixtral",
    .hf_model_types = kModelTypes,
    .hf_class = "MixtralForCausalLM",
    .gguf_name = "llama",
    .claims_gguf = claims_gguf,
    .roles = kRoles,
    .gguf_interleaved_rope = true,
    .default_norm_eps = 1e-5,
    .default_rope_theta = 1e6,
    .read_hf = read_hf,
};

}  // namespace coldpress
