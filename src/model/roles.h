// Roles that most decoder families share, so that a declaration in arch/ lists only what differs.
#pragma once

#include "model/table.h"

namespace coldpress::roles {

inline constexpr RoleSpec kTokenEmbd{.role = "token_embd",
                                     .hf = "model.embed_tokens.weight",
                                     .gguf = "token_embd.weight",
                                     .rows = Extent::kVocab};
inline constexpr RoleSpec kOutputNorm{.role = "output_norm",
                                      .hf = "model.norm.weight",
                                      .gguf = "output_norm.weight",
                                      .is_gain = true};
inline constexpr RoleSpec kOutput{.role = "output",
                                  .hf = "lm_head.weight",
                                  .gguf = "output.weight",
                                  .rows = Extent::kVocab,
                                  .presence = Presence::kUntied};
// Llama-3 frequency divisors; in HF they follow from config.json.
inline constexpr RoleSpec kRopeFactors{.role = "rope_factors",
                                       .hf = "",
                                       .gguf = "rope_freqs.weight",
                                       .cols = Extent::kRopePairs,
                                       .presence = Presence::kOptional};

inline constexpr RoleSpec kAttnNorm{.role = "attn_norm",
                                    .hf = "model.layers.{}.input_layernorm.weight",
                                    .gguf = "blk.{}.attn_norm.weight",
                                    .is_gain = true};
inline constexpr RoleSpec kAttnQ{.role = "attn_q",
                                 .hf = "model.layers.{}.self_attn.q_proj.weight",
                                 .gguf = "blk.{}.attn_q.weight",
                                 .rows = Extent::kQuery,
                                 .tap = "attn_in",
                                 .is_rotary = true};
inline constexpr RoleSpec kAttnK{.role = "attn_k",
                                 .hf = "model.layers.{}.self_attn.k_proj.weight",
                                 .gguf = "blk.{}.attn_k.weight",
                                 .rows = Extent::kKeyValue,
                                 .tap = "attn_in",
                                 .is_rotary = true};
inline constexpr RoleSpec kAttnV{.role = "attn_v",
                                 .hf = "model.layers.{}.self_attn.v_proj.weight",
                                 .gguf = "blk.{}.attn_v.weight",
                                 .rows = Extent::kKeyValue,
                                 .tap = "attn_in"};
inline constexpr RoleSpec kAttnO{.role = "attn_o",
                                 .hf = "model.layers.{}.self_attn.o_proj.weight",
                                 .gguf = "blk.{}.attn_output.weight",
                                 .rows = Extent::kHidden,
                                 .cols = Extent::kQuery,
                                 .tap = "attn_out"};
inline constexpr RoleSpec kAttnQBias{.role = "attn_q_bias",
                                     .hf = "model.layers.{}.self_attn.q_proj.bias",
                                     .gguf = "blk.{}.attn_q.bias",
                                     .cols = Extent::kQuery,
                                     .presence = Presence::kAttentionBias,
                                     .is_rotary = true};
inline constexpr RoleSpec kAttnKBias{.role = "attn_k_bias",
                                     .hf = "model.layers.{}.self_attn.k_proj.bias",
                                     .gguf = "blk.{}.attn_k.bias",
                                     .cols = Extent::kKeyValue,
                                     .presence = Presence::kAttentionBias,
                                     .is_rotary = true};
inline constexpr RoleSpec kAttnVBias{.role = "attn_v_bias",
                                     .hf = "model.layers.{}.self_attn.v_proj.bias",
                                     .gguf = "blk.{}.attn_v.bias",
                                     .cols = Extent::kKeyValue,
                                     .presence = Presence::kAttentionBias};
inline constexpr RoleSpec kAttnOBias{.role = "attn_o_bias",
                                     .hf = "model.layers.{}.self_attn.o_proj.bias",
                                     .gguf = "blk.{}.attn_output.bias",
                                     .presence = Presence::kAttentionBias};
// RMS gains per head, before RoPE.
inline constexpr RoleSpec kAttnQNorm{.role = "attn_q_norm",
                                     .hf = "model.layers.{}.self_attn.q_norm.weight",
                                     .gguf = "blk.{}.attn_q_norm.weight",
                                     .cols = Extent::kHeadDim,
                                     .is_gain = true};
inline constexpr RoleSpec kAttnKNorm{.role = "attn_k_norm",
                                     .hf = "model.layers.{}.self_attn.k_norm.weight",
                                     .gguf = "blk.{}.attn_k_norm.weight",
                                     .cols = Extent::kHeadDim,
                                     .is_gain = true};

inline constexpr RoleSpec kFfnNorm{.role = "ffn_norm",
                                   .hf = "model.layers.{}.post_attention_layernorm.weight",
                                   .gguf = "blk.{}.ffn_norm.weight",
                                   .is_gain = true};
inline constexpr RoleSpec kFfnGate{.role = "ffn_gate",
                                   .hf = "model.layers.{}.mlp.gate_proj.weight",
                                   .gguf = "blk.{}.ffn_gate.weight",
                                   .rows = Extent::kFfn,
                                   .tap = "ffn_in"};
inline constexpr RoleSpec kFfnUp{.role = "ffn_up",
                                 .hf = "model.layers.{}.mlp.up_proj.weight",
                                 .gguf = "blk.{}.ffn_up.weight",
                                 .rows = Extent::kFfn,
                                 .tap = "ffn_in"};
inline constexpr RoleSpec kFfnDown{.role = "ffn_down",
                                   .hf = "model.layers.{}.mlp.down_proj.weight",
                                   .gguf = "blk.{}.ffn_down.weight",
                                   .rows = Extent::kHidden,
                                   .cols = Extent::kFfn,
                                   .tap = "ffn_mid"};
inline constexpr RoleSpec kFfnGateBias{.role = "ffn_gate_bias",
                                       .hf = "model.layers.{}.mlp.gate_proj.bias",
                                       .gguf = "blk.{}.ffn_gate.bias",
                                       .cols = Extent::kFfn,
                                       .presence = Presence::kMlpBias};
inline constexpr RoleSpec kFfnUpBias{.role = "ffn_up_bias",
                                     .hf = "model.layers.{}.mlp.up_proj.bias",
                                     .gguf = "blk.{}.ffn_up.bias",
                                     .cols = Extent::kFfn,
                                     .presence = Presence::kMlpBias};
inline constexpr RoleSpec kFfnDownBias{.role = "ffn_down_bias",
                                       .hf = "model.layers.{}.mlp.down_proj.bias",
                                       .gguf = "blk.{}.ffn_down.bias",
                                       .presence = Presence::kMlpBias};

// Biases of LayerNorms.
inline constexpr RoleSpec kOutputNormBias{
    .role = "output_norm_bias", .hf = "model.norm.bias", .gguf = "output_norm.bias"};
inline constexpr RoleSpec kAttnNormBias{.role = "attn_norm_bias",
                                        .hf = "model.layers.{}.input_layernorm.bias",
                                        .gguf = "blk.{}.attn_norm.bias"};
inline constexpr RoleSpec kFfnNormBias{.role = "ffn_norm_bias",
                                       .hf = "model.layers.{}.post_attention_layernorm.bias",
                                       .gguf = "blk.{}.ffn_norm.bias"};
// Norms of what attention and feed-forward add to the residual.
inline constexpr RoleSpec kAttnPostNorm{.role = "attn_post_norm",
                                        .hf = "model.layers.{}.post_attention_layernorm.weight",
                                        .gguf = "blk.{}.post_attention_norm.weight",
                                        .is_gain = true};
inline constexpr RoleSpec kFfnPostNorm{.role = "ffn_post_norm",
                                       .hf = "model.layers.{}.post_feedforward_layernorm.weight",
                                       .gguf = "blk.{}.post_ffw_norm.weight",
                                       .is_gain = true};

// One matrix for q, k and v, or for gate and up: one linear, since both parts read the same input.
inline constexpr RoleSpec kAttnQkv{.role = "attn_qkv",
                                   .hf = "model.layers.{}.self_attn.qkv_proj.weight",
                                   .gguf = "blk.{}.attn_qkv.weight",
                                   .rows = Extent::kQkv,
                                   .tap = "attn_in",
                                   .is_qkv = true};
inline constexpr RoleSpec kAttnQkvBias{.role = "attn_qkv_bias",
                                       .hf = "model.layers.{}.self_attn.qkv_proj.bias",
                                       .gguf = "blk.{}.attn_qkv.bias",
                                       .cols = Extent::kQkv,
                                       .is_qkv = true};
inline constexpr RoleSpec kFfnGateUp{.role = "ffn_gate_up",
                                     .hf = "model.layers.{}.mlp.gate_up_proj.weight",
                                     .gguf = "blk.{}.ffn_up.weight",
                                     .rows = Extent::kGateUp,
                                     .tap = "ffn_in"};

// A mixture of experts: the router keeps its precision.
inline constexpr RoleSpec kFfnRouter{.role = "ffn_router",
                                     .hf = "model.layers.{}.mlp.gate.weight",
                                     .gguf = "blk.{}.ffn_gate_inp.weight",
                                     .rows = Extent::kExperts,
                                     .tap = "ffn_in",
                                     .is_kept = true};
inline constexpr RoleSpec kFfnGateExps{.role = "ffn_gate_exps",
                                       .hf = "model.layers.{}.mlp.experts.{}.gate_proj.weight",
                                       .gguf = "blk.{}.ffn_gate_exps.weight",
                                       .rows = Extent::kFfn,
                                       .tap = "ffn_in",
                                       .per_expert = true};
inline constexpr RoleSpec kFfnUpExps{.role = "ffn_up_exps",
                                     .hf = "model.layers.{}.mlp.experts.{}.up_proj.weight",
                                     .gguf = "blk.{}.ffn_up_exps.weight",
                                     .rows = Extent::kFfn,
                                     .tap = "ffn_in",
                                     .per_expert = true};
inline constexpr RoleSpec kFfnGateUpExps{.role = "ffn_gate_up_exps",
                                         .hf = "model.layers.{}.mlp.experts.gate_up_proj",
                                         .gguf = "",
                                         .rows = Extent::kGateUp,
                                         .presence = Presence::kFused,
                                         .tap = "ffn_in",
                                         .per_expert = true,
                                         .gguf_upper = "ffn_gate_exps",
                                         .gguf_lower = "ffn_up_exps"};
inline constexpr RoleSpec kFfnDownExps{.role = "ffn_down_exps",
                                       .hf = "model.layers.{}.mlp.experts.{}.down_proj.weight",
                                       .gguf = "blk.{}.ffn_down_exps.weight",
                                       .rows = Extent::kHidden,
                                       .cols = Extent::kFfn,
                                       .tap = "ffn_mid",
                                       .per_expert = true};

// The feed-forward of blocks without experts in a model that has some.
inline constexpr RoleSpec dense_block(RoleSpec role) {
  role.dense_blocks_only = true;
  (role.rows == Extent::kFfn ? role.rows : role.cols) = Extent::kDenseFfn;
  return role;
}

// Learned positions are added to the embeddings; Bloom norms the sum.
inline constexpr RoleSpec kPosEmbd{.role = "pos_embd",
                                   .hf = "transformer.wpe.weight",
                                   .gguf = "position_embd.weight",
                                   .rows = Extent::kPositions};

// The Llama layout, which Mistral shares.
inline constexpr RoleSpec kLlama[] = {
    kTokenEmbd, kOutputNorm, kOutput,      kRopeFactors, kAttnNorm, kAttnQ,      kAttnK,
    kAttnV,     kAttnQBias,  kAttnKBias,   kAttnVBias,   kAttnO,    kAttnOBias,  kFfnNorm,
    kFfnGate,   kFfnUp,      kFfnGateBias, kFfnUpBias,   kFfnDown,  kFfnDownBias};

}  // namespace coldpress::roles
