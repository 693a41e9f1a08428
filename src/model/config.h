// What a model's config.json or GGUF metadata says, in one vocabulary. Architectures fill it
// (model/arch/*.cc); the stage graphs and the pipeline read it and never look at names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coldpress {

enum class Activation { kSilu, kGeluTanh, kGelu };

struct RopeConfig {
  double theta = 10000.0;
  // Frequency divisors per pair (Llama-3 scaling, linear scaling); empty: all ones. head_dim/2
  // long.
  std::vector<float> factors;
  bool interleaved = false;  // pairs (2i, 2i+1), as in GGUF files of Llama; else (i, i + d/2)
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
  double norm_eps = 1e-5;
  bool tied_embeddings = false;
  double attention_scale = 0.0;  // multiplies q k^T
  double embedding_scale = 1.0;
  double attention_softcap = 0.0;   // 0: none
  double logit_softcap = 0.0;       // 0: none
  double norm_weight_offset = 0.0;  // Gemma safetensors store w with the gain 1 + w
  Activation activation = Activation::kSilu;
  // Per block; empty vectors mean "the same everywhere".
  std::vector<int64_t> sliding_window;  // 0: full attention
  std::vector<RopeConfig> rope;         // one entry per block, or one for all
  bool attention_bias = false;          // HF: q, k, v, o have biases
  bool mlp_bias = false;                // HF: gate, up, down have biases
  bool qk_norm = false;                 // RMS norm per head on q and k, before RoPE
  bool post_norms = false;              // Gemma: norms after attention and feed-forward too
  std::string tokenizer_hint;           // free for the tokenizer layer; may be empty
};

}  // namespace coldpress
