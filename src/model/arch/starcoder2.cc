// StarCoder 2: LayerNorms and biases, RoPE, grouped heads, a feed-forward without gate.
#include "io/json.h"
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"starcoder2"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd,
    roles::kOutputNorm,
    roles::kOutputNormBias,
    roles::kOutput,
    roles::kAttnNorm,
    roles::kAttnNormBias,
    roles::kAttnQ,
    roles::kAttnK,
    roles::kAttnV,
    roles::kAttnO,
    roles::kAttnQBias,
    roles::kAttnKBias,
    roles::kAttnVBias,
    roles::kAttnOBias,
    roles::kFfnNorm,
    roles::kFfnNormBias,
    roles::kFfnUp.in_hf("model.layers.{}.mlp.c_fc.weight"),
    roles::kFfnUpBias.in_hf("model.layers.{}.mlp.c_fc.bias"),
    roles::kFfnDown.in_hf("model.layers.{}.mlp.c_proj.weight"),
    roles::kFfnDownBias.in_hf("model.layers.{}.mlp.c_proj.bias"),
};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const bool biases, keys.flag_or("use_bias", true));
  config.attention_bias = biases;
  config.mlp_bias = biases;
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", 0, 1, kMaxContext));
  if (window > 0) {
    config.sliding_window.assign(static_cast<std::size_t>(config.blocks), window);
  }
  return {};
}

void write_hf(const ModelConfig& /*config*/, Json& json) { json["use_bias"] = json["mlp_bias"]; }

}  // namespace

extern const Architecture kArchitecture_starcoder2;
const Architecture kArchitecture_starcoder2 = {
    .name = "starcoder2",
    .hf_model_types = kModelTypes,
    .hf_class = "Starcoder2ForCausalLM",
    .gguf_name = "starcoder2",
    .roles = kRoles,
    .norm = NormKind::kLayer,
    .keys = {.norm_eps = "norm_epsilon"},
    .default_tied = true,
    .default_norm_eps = 1e-5,
    .default_activation = "gelu_pytorch_tanh",
    .read_hf = read_hf,
    .write_hf = write_hf,
};

}  // namespace coldpress
