// BLOOM: ALiBi instead of rotary positions, a norm of the embeddings, q, k and v of each head
// together in one matrix.
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"bloom"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd.in_hf("transformer.word_embeddings.weight"),
    {.role = "token_embd_norm",
     .hf = "transformer.word_embeddings_layernorm.weight",
     .gguf = "token_embd_norm.weight",
     .is_gain = true},
    {.role = "token_embd_norm_bias",
     .hf = "transformer.word_embeddings_layernorm.bias",
     .gguf = "token_embd_norm.bias"},
    roles::kOutputNorm.in_hf("transformer.ln_f.weight"),
    roles::kOutputNormBias.in_hf("transformer.ln_f.bias"),
    roles::kOutput,
    roles::kAttnNorm.in_hf("transformer.h.{}.input_layernorm.weight"),
    roles::kAttnNormBias.in_hf("transformer.h.{}.input_layernorm.bias"),
    roles::kAttnQkv.in_hf("transformer.h.{}.self_attention.query_key_value.weight"),
    roles::kAttnQkvBias.in_hf("transformer.h.{}.self_attention.query_key_value.bias"),
    roles::kAttnO.in_hf("transformer.h.{}.self_attention.dense.weight"),
    roles::kAttnOBias.in_hf("transformer.h.{}.self_attention.dense.bias").with(Presence::kRequired),
    roles::kFfnNorm.in_hf("transformer.h.{}.post_attention_layernorm.weight"),
    roles::kFfnNormBias.in_hf("transformer.h.{}.post_attention_layernorm.bias"),
    roles::kFfnUp.in_hf("transformer.h.{}.mlp.dense_h_to_4h.weight"),
    roles::kFfnUpBias.in_hf("transformer.h.{}.mlp.dense_h_to_4h.bias").with(Presence::kRequired),
    roles::kFfnDown.in_hf("transformer.h.{}.mlp.dense_4h_to_h.weight"),
    roles::kFfnDownBias.in_hf("transformer.h.{}.mlp.dense_4h_to_h.bias").with(Presence::kRequired),
};

Status read_hf(const ConfigKeys& keys, ModelConfig& /*config*/) {
  return refuse_flag(keys, "apply_residual_connection_post_layernorm",
                     "residuals that start after the norm are not supported");
}

}  // namespace

extern const Architecture kArchitecture_bloom;
const Architecture kArchitecture_bloom = {
    .name = "bloom",
    .hf_model_types = kModelTypes,
    .hf_class = "BloomForCausalLM",
    .gguf_name = "bloom",
    .roles = kRoles,
    .hf_prefix = "transformer.",
    .norm = NormKind::kLayer,
    .positions = Positions::kAlibi,
    .hf_qkv_by_group = true,
    .keys = {.hidden = "hidden_size|n_embed",
             .blocks = "n_layer|num_hidden_layers",
             .heads = "n_head|num_attention_heads",
             .kv_heads = "",
             .head_dim = "",
             .ffn = "",
             .context = "seq_length|max_position_embeddings",
             .norm_eps = "layer_norm_epsilon",
             .activation = ""},
    .default_ffn = 4,
    .default_tied = true,
    .default_norm_eps = 1e-5,
    .default_activation = "gelu_pytorch_tanh",
    .read_hf = read_hf,
};

}  // namespace coldpress
