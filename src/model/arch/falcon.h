// What the two entries for Falcon share.
#pragma once

#include "io/json.h"
#include "model/config_keys.h"
#include "model/gguf_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress::falcon {

inline constexpr std::string_view kModelTypes[] = {"falcon"};

inline constexpr RoleSpec kTokenEmbd =
    roles::kTokenEmbd.in_hf("transformer.word_embeddings.weight");
inline constexpr RoleSpec kOutputNorm = roles::kOutputNorm.in_hf("transformer.ln_f.weight");
inline constexpr RoleSpec kOutputNormBias = roles::kOutputNormBias.in_hf("transformer.ln_f.bias");
inline constexpr RoleSpec kAttnQkv =
    roles::kAttnQkv.in_hf("transformer.h.{}.self_attention.query_key_value.weight");
inline constexpr RoleSpec kAttnQkvBias =
    roles::kAttnQkvBias.in_hf("transformer.h.{}.self_attention.query_key_value.bias")
        .with(Presence::kAttentionBias);
inline constexpr RoleSpec kAttnO =
    roles::kAttnO.in_hf("transformer.h.{}.self_attention.dense.weight");
inline constexpr RoleSpec kAttnOBias =
    roles::kAttnOBias.in_hf("transformer.h.{}.self_attention.dense.bias");
inline constexpr RoleSpec kFfnUp = roles::kFfnUp.in_hf("transformer.h.{}.mlp.dense_h_to_4h.weight");
inline constexpr RoleSpec kFfnUpBias =
    roles::kFfnUpBias.in_hf("transformer.h.{}.mlp.dense_h_to_4h.bias");
inline constexpr RoleSpec kFfnDown =
    roles::kFfnDown.in_hf("transformer.h.{}.mlp.dense_4h_to_h.weight");
inline constexpr RoleSpec kFfnDownBias =
    roles::kFfnDownBias.in_hf("transformer.h.{}.mlp.dense_4h_to_h.bias");

inline Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const bool biases, keys.flag_or("bias", false));
  config.attention_bias = biases;
  config.mlp_bias = biases;
  COLDPRESS_ASSIGN_OR_RETURN(const bool grouped, keys.flag_or("new_decoder_architecture", false));
  COLDPRESS_ASSIGN_OR_RETURN(const bool one_key_head, keys.flag_or("multi_query", true));
  if (!grouped) config.kv_heads = one_key_head ? 1 : config.heads;
  COLDPRESS_ASSIGN_OR_RETURN(const bool parallel, keys.flag_or("parallel_attn", true));
  if (!parallel && !grouped) {
    return unsupported(keys.where("parallel_attn") +
                       " is false, but only Falcons with parallel attention are supported");
  }
  return refuse_flag(keys, "alibi", "only Falcons with rotary positions are supported");
}

inline void write_hf(const ModelConfig& config, Json& json) {
  const bool two_norms = config.architecture == "falcon-40b";
  json["bias"] = json["mlp_bias"];
  json["alibi"] = false;
  json["parallel_attn"] = true;
  json["multi_query"] = config.kv_heads == 1;
  json["new_decoder_architecture"] = two_norms || config.kv_heads > 1;
  json["num_ln_in_parallel_attn"] = two_norms ? 2 : 1;
}

// How the rows of the fused q, k and v are ordered; the only order that anybody writes.
inline void write_gguf(const ModelConfig& /*config*/, GgufKeys& keys) {
  keys.put("tensor_data_layout", GgufValue::string("jploski"));
}

inline Architecture declared(std::string_view name, std::span<const RoleSpec> roles) {
  return {
      .name = name,
      .hf_model_types = kModelTypes,
      .hf_class = "FalconForCausalLM",
      .gguf_name = "falcon",
      .roles = roles,
      .norm = NormKind::kLayer,
      .hf_qkv_by_group = true,
      .parallel_residual = true,
      .keys = {.blocks = "num_hidden_layers|n_layer",
               .heads = "num_attention_heads|n_head",
               .kv_heads = "num_kv_heads|n_head_kv",
               .head_dim = "",
               .ffn = "ffn_hidden_size",
               .norm_eps = "layer_norm_epsilon",
               .activation = "activation"},
      .default_ffn = 4,
      .default_tied = true,
      .default_norm_eps = 1e-5,
      .default_activation = "gelu",
      .read_hf = read_hf,
      .write_hf = write_hf,
      .write_gguf = write_gguf,
  };
}

}  // namespace coldpress::falcon
