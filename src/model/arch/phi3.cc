// Phi-3 and Phi-4 with short context: q, k, v in one matrix, gate and up in another.
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"phi3"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd, roles::kOutputNorm, roles::kOutput,    roles::kAttnNorm, roles::kAttnQkv,
    roles::kAttnO,     roles::kFfnNorm,    roles::kFfnGateUp, roles::kFfnDown,
};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", 0, 1, kMaxContext));
  if (window > 0) {
    config.sliding_window.assign(static_cast<std::size_t>(config.blocks), window);
  }
  return {};
}

}  // namespace

extern const Architecture kArchitecture_phi3;
const Architecture kArchitecture_phi3 = {
    .name = "phi3",
    .hf_model_types = kModelTypes,
    .hf_class = "Phi3ForCausalLM",
    .gguf_name = "phi3",
    .roles = kRoles,
    .partial_rotary = true,
    .default_norm_eps = 1e-5,
    .read_hf = read_hf,
};

}  // namespace coldpress
