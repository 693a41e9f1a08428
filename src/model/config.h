// What a model's config.json or GGUF metadata says, in one vocabulary. Architectures fill it
// (model/arch/*.cc); the stage graphs and the pipeline read it and never look at names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/online.h"

namespace coldpress {

enum class Activation { kSilu, kGeluTanh, kGelu, kRelu };
enum class NormKind { kRms, kLayer };

struct RopeConfig {
  double theta = 10000.0;
  int64_t dims = 0;  // the first `dims` elements of a head rotate; 0: this block has no RoPE
  // Frequency divisors per pair (Llama-3 scaling, linear scaling); empty: all ones. dims/2 long.
  std::vector<float> factors = {};
  // Models that take images count pairs in sections, with a position each; in text the positions of
  // all sections are the token's, so that only other programs need to know.
  std::vector<int64_t> sections = {};
  bool interleaved = false;  // pairs (2i, 2i+1), as in GGUF files of Llama; else (i, i + dims/2)
};

struct ModelConfig {
  std::string architecture;  // the entry of the architecture table, e.g. "llama"
  int64_t hidden = 0;
  int64_t blocks = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn = 0;
  int64_t vocab = 0;
  int64_t context = 0;  // the longest window the model was trained for
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;
  bool tied_embeddings = false;
  double attention_scale = 0.0;  // multiplies q k^T
  double embedding_scale = 1.0;
  double residual_scale = 1.0;      // multiplies what attention and feed-forward add
  double logit_scale = 1.0;         // multiplies the logits
  double attention_softcap = 0.0;   // 0: none
  double logit_softcap = 0.0;       // 0: none
  double norm_weight_offset = 0.0;  // Gemma safetensors store w with the gain 1 + w
  Activation activation = Activation::kSilu;
  // Per block; empty vectors mean "the same everywhere".
  std::vector<int64_t> sliding_window;  // 0: full attention
  std::vector<RopeConfig> rope;         // one entry per block, or one for all
  std::vector<float> alibi_slopes;      // per head: score += slope * (key - query); empty: none
  int64_t position_offset = 0;          // learned positions: position t is row t + offset
  bool parallel_residual = false;       // feed-forward reads the residual before attention's sum
  bool qkv_by_group = false;            // rows of a fused qkv: per key head its queries, k and v;
                                        // else all q, then all k, then all v
  int64_t experts = 0;                  // per block; 0: a dense feed-forward. `ffn` is one expert's
  int64_t experts_used = 0;             // per token
  // With experts: the blocks that have a dense feed-forward of `dense_ffn` instead; empty: none.
  std::vector<bool> dense_blocks;
  int64_t dense_ffn = 0;
  bool normalise_routes = true;  // the used experts' probabilities are divided by their sum
  bool attention_bias = false;   // HF: q, k, v, o have biases
  bool mlp_bias = false;         // HF: gate, up, down have biases
  bool inside_larger = false;    // HF: config.json describes a model that this is a part of
  std::string tokenizer_hint;    // free for the tokenizer layer; may be empty
  OnlineParts online;            // of a model that coldpress pressed for low-bit activations

  bool has_experts(int64_t block) const {
    return experts > 0 && (dense_blocks.empty() || !dense_blocks[static_cast<std::size_t>(block)]);
  }
};

}  // namespace coldpress
