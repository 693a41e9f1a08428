// GPT-NeoX, Pythia: attention and feed-forward side by side, heads that rotate in part, q, k and v
// of each head together in one matrix.
#include "io/json.h"
#include "model/config_keys.h"
#include "model/gguf_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"gpt_neox"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd.in_hf("gpt_neox.embed_in.weight"),
    roles::kOutputNorm.in_hf("gpt_neox.final_layer_norm.weight"),
    roles::kOutputNormBias.in_hf("gpt_neox.final_layer_norm.bias"),
    roles::kOutput.in_hf("embed_out.weight"),
    roles::kAttnNorm.in_hf("gpt_neox.layers.{}.input_layernorm.weight"),
    roles::kAttnNormBias.in_hf("gpt_neox.layers.{}.input_layernorm.bias"),
    roles::kAttnQkv.in_hf("gpt_neox.layers.{}.attention.query_key_value.weight"),
    roles::kAttnQkvBias.in_hf("gpt_neox.layers.{}.attention.query_key_value.bias")
        .with(Presence::kAttentionBias),
    roles::kAttnO.in_hf("gpt_neox.layers.{}.attention.dense.weight"),
    roles::kAttnOBias.in_hf("gpt_neox.layers.{}.attention.dense.bias"),
    roles::kFfnNorm.in_hf("gpt_neox.layers.{}.post_attention_layernorm.weight"),
    roles::kFfnNormBias.in_hf("gpt_neox.layers.{}.post_attention_layernorm.bias"),
    roles::kFfnUp.in_hf("gpt_neox.layers.{}.mlp.dense_h_to_4h.weight"),
    roles::kFfnUpBias.in_hf("gpt_neox.layers.{}.mlp.dense_h_to_4h.bias").with(Presence::kRequired),
    roles::kFfnDown.in_hf("gpt_neox.layers.{}.mlp.dense_4h_to_h.weight"),
    roles::kFfnDownBias.in_hf("gpt_neox.layers.{}.mlp.dense_4h_to_h.bias")
        .with(Presence::kRequired),
};

// Masks of attention.
constexpr std::string_view kBuffers[] = {"gpt_neox.layers.{}.attention.bias",
                                         "gpt_neox.layers.{}.attention.masked_bias"};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(config.attention_bias, keys.flag_or("attention_bias", true));
  COLDPRESS_ASSIGN_OR_RETURN(config.parallel_residual, keys.flag_or("use_parallel_residual", true));
  return {};
}

Status read_gguf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(config.parallel_residual, keys.flag_or("use_parallel_residual", true));
  return {};
}

void write_hf(const ModelConfig& config, Json& json) {
  json["use_parallel_residual"] = config.parallel_residual;
}

void write_gguf(const ModelConfig& config, GgufKeys& keys) {
  keys.put("use_parallel_residual", config.parallel_residual);
}

}  // namespace

extern const Architecture kArchitecture_gpt_neox;
const Architecture kArchitecture_gpt_neox = {
    .name = "gpt-neox",
    .hf_model_types = kModelTypes,
    .hf_class = "GPTNeoXForCausalLM",
    .gguf_name = "gptneox",
    .roles = kRoles,
    .hf_buffers = kBuffers,
    .norm = NormKind::kLayer,
    .hf_qkv_by_group = true,
    .parallel_residual = true,
    .partial_rotary = true,
    .keys = {.kv_heads = "", .head_dim = "", .norm_eps = "layer_norm_eps"},
    .default_norm_eps = 1e-5,
    .default_activation = "gelu",
    .read_hf = read_hf,
    .read_gguf = read_gguf,
    .write_hf = write_hf,
    .write_gguf = write_gguf,
};

}  // namespace coldpress
