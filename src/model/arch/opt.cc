// OPT: learned positions that start at row 2, LayerNorms, ReLU. GGUF has no such architecture.
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"opt"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd.in_hf("model.decoder.embed_tokens.weight"),
    roles::kPosEmbd.in_hf("model.decoder.embed_positions.weight"),
    roles::kOutputNorm.in_hf("model.decoder.final_layer_norm.weight"),
    roles::kOutputNormBias.in_hf("model.decoder.final_layer_norm.bias"),
    roles::kOutput,
    roles::kAttnNorm.in_hf("model.decoder.layers.{}.self_attn_layer_norm.weight"),
    roles::kAttnNormBias.in_hf("model.decoder.layers.{}.self_attn_layer_norm.bias"),
    roles::kAttnQ.in_hf("model.decoder.layers.{}.self_attn.q_proj.weight"),
    roles::kAttnK.in_hf("model.decoder.layers.{}.self_attn.k_proj.weight"),
    roles::kAttnV.in_hf("model.decoder.layers.{}.self_attn.v_proj.weight"),
    roles::kAttnO.in_hf("model.decoder.layers.{}.self_attn.out_proj.weight"),
    roles::kAttnQBias.in_hf("model.decoder.layers.{}.self_attn.q_proj.bias"),
    roles::kAttnKBias.in_hf("model.decoder.layers.{}.self_attn.k_proj.bias"),
    roles::kAttnVBias.in_hf("model.decoder.layers.{}.self_attn.v_proj.bias"),
    roles::kAttnOBias.in_hf("model.decoder.layers.{}.self_attn.out_proj.bias"),
    roles::kFfnNorm.in_hf("model.decoder.layers.{}.final_layer_norm.weight"),
    roles::kFfnNormBias.in_hf("model.decoder.layers.{}.final_layer_norm.bias"),
    roles::kFfnUp.in_hf("model.decoder.layers.{}.fc1.weight"),
    roles::kFfnUpBias.in_hf("model.decoder.layers.{}.fc1.bias"),
    roles::kFfnDown.in_hf("model.decoder.layers.{}.fc2.weight"),
    roles::kFfnDownBias.in_hf("model.decoder.layers.{}.fc2.bias"),
};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const bool biases, keys.flag_or("enable_bias", true));
  config.attention_bias = biases;
  config.mlp_bias = biases;
  COLDPRESS_ASSIGN_OR_RETURN(const bool norm_before, keys.flag_or("do_layer_norm_before", true));
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t embedding,
                             keys.integer_or("word_embed_proj_dim", config.hidden, 1, kMaxWidth));
  if (!norm_before || embedding != config.hidden) {
    return unsupported(keys.where(norm_before ? "word_embed_proj_dim" : "do_layer_norm_before") +
                       " says that this is an OPT with norms after its blocks or with projected "
                       "embeddings, as only the 350M model has; they are not supported");
  }
  return refuse_flag(keys, "_remove_final_layer_norm",
                     "OPT without its last norm is not supported");
}

}  // namespace

extern const Architecture kArchitecture_opt;
const Architecture kArchitecture_opt = {
    .name = "opt",
    .hf_model_types = kModelTypes,
    .hf_class = "OPTForCausalLM",
    .gguf_name = "",
    .roles = kRoles,
    .norm = NormKind::kLayer,
    .positions = Positions::kLearned,
    .position_offset = 2,
    .keys = {.kv_heads = "",
             .head_dim = "",
             .ffn = "ffn_dim",
             .norm_eps = "",
             .activation = "activation_function"},
    .default_tied = true,
    .default_norm_eps = 1e-5,
    .default_activation = "relu",
    .read_hf = read_hf,
};

}  // namespace coldpress
