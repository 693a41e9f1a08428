// GPT-2: learned positions, LayerNorms, one matrix for q, k and v, and matrices stored transposed.
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"gpt2"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd.in_hf("transformer.wte.weight"),
    roles::kPosEmbd.in_hf("transformer.wpe.weight"),
    roles::kOutputNorm.in_hf("transformer.ln_f.weight"),
    roles::kOutputNormBias.in_hf("transformer.ln_f.bias"),
    roles::kOutput,
    roles::kAttnNorm.in_hf("transformer.h.{}.ln_1.weight"),
    roles::kAttnNormBias.in_hf("transformer.h.{}.ln_1.bias"),
    roles::kAttnQkv.in_hf("transformer.h.{}.attn.c_attn.weight").transposed(),
    roles::kAttnQkvBias.in_hf("transformer.h.{}.attn.c_attn.bias"),
    roles::kAttnO.in_hf("transformer.h.{}.attn.c_proj.weight").transposed(),
    roles::kAttnOBias.in_hf("transformer.h.{}.attn.c_proj.bias").with(Presence::kRequired),
    roles::kFfnNorm.in_hf("transformer.h.{}.ln_2.weight"),
    roles::kFfnNormBias.in_hf("transformer.h.{}.ln_2.bias"),
    roles::kFfnUp.in_hf("transformer.h.{}.mlp.c_fc.weight").transposed(),
    roles::kFfnUpBias.in_hf("transformer.h.{}.mlp.c_fc.bias").with(Presence::kRequired),
    roles::kFfnDown.in_hf("transformer.h.{}.mlp.c_proj.weight").transposed(),
    roles::kFfnDownBias.in_hf("transformer.h.{}.mlp.c_proj.bias").with(Presence::kRequired),
};

// Masks of attention.
constexpr std::string_view kBuffers[] = {"transformer.h.{}.attn.bias",
                                         "transformer.h.{}.attn.masked_bias"};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_RETURN_IF_ERROR(refuse_flag(keys, "scale_attn_by_inverse_layer_idx",
                                        "scores scaled by depth are not supported"));
  COLDPRESS_ASSIGN_OR_RETURN(const bool scaled, keys.flag_or("scale_attn_weights", true));
  if (!scaled) config.attention_scale = 1.0;
  return {};
}

}  // namespace

extern const Architecture kArchitecture_gpt2;
const Architecture kArchitecture_gpt2 = {
    .name = "gpt2",
    .hf_model_types = kModelTypes,
    .hf_class = "GPT2LMHeadModel",
    .gguf_name = "gpt2",
    .roles = kRoles,
    .hf_buffers = kBuffers,
    .hf_prefix = "transformer.",
    .norm = NormKind::kLayer,
    .positions = Positions::kLearned,
    .keys = {.hidden = "n_embd",
             .blocks = "n_layer",
             .heads = "n_head",
             .kv_heads = "",
             .head_dim = "",
             .ffn = "n_inner",
             .context = "n_positions",
             .norm_eps = "layer_norm_epsilon",
             .activation = "activation_function"},
    .default_ffn = 4,
    .default_tied = true,
    .default_norm_eps = 1e-5,
    .default_activation = "gelu_new",
    .read_hf = read_hf,
};

}  // namespace coldpress
