// Gemma 2: gains 1 + w, norms on both sides of attention and feed-forward, embeddings scaled by
// sqrt(hidden), soft-capped scores and logits, a local window in every other block.
#include <cmath>

#include "io/json.h"
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"gemma2"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd,    roles::kOutputNorm,
    roles::kOutput,       roles::kAttnNorm,
    roles::kAttnQ,        roles::kAttnK,
    roles::kAttnV,        roles::kAttnO,
    roles::kAttnQBias,    roles::kAttnKBias,
    roles::kAttnVBias,    roles::kAttnOBias,
    roles::kAttnPostNorm, roles::kFfnNorm.in_hf("model.layers.{}.pre_feedforward_layernorm.weight"),
    roles::kFfnGate,      roles::kFfnUp,
    roles::kFfnDown,      roles::kFfnPostNorm,
};

constexpr int64_t kDefaultWindow = 4096;

// transformers multiplies by sqrt(hidden) rounded to the weights' type; in fp32 that is this.
double embedding_scale(const ModelConfig& config) {
  return std::sqrt(static_cast<float>(config.hidden));
}

void set_windows(const std::vector<bool>& local, int64_t window, ModelConfig& config) {
  for (const bool is_local : local) config.sliding_window.push_back(is_local ? window : 0);
}

std::vector<bool> even_blocks(int64_t blocks) {
  std::vector<bool> local;
  for (int64_t i = 0; i < blocks; ++i) local.push_back(i % 2 == 0);
  return local;
}

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  config.embedding_scale = embedding_scale(config);
  COLDPRESS_ASSIGN_OR_RETURN(const double scalar,
                             keys.number_or("query_pre_attn_scalar", 256.0, 1e-3, 1e9));
  config.attention_scale = 1.0 / std::sqrt(scalar);
  COLDPRESS_RETURN_IF_ERROR(
      refuse_flag(keys, "use_bidirectional_attention", "only causal models can be pressed"));
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", kDefaultWindow, 1, kMaxContext));
  std::vector<bool> local = even_blocks(config.blocks);
  if (keys.has("layer_types")) {
    COLDPRESS_ASSIGN_OR_RETURN(local, keys.layer_types(config.blocks));
  }
  set_windows(local, window, config);
  return {};
}

void write_hf(const ModelConfig& config, Json& json) {
  json["query_pre_attn_scalar"] = shortest_number(1.0 / std::pow(config.attention_scale, 2));
}

Status read_gguf(const ConfigKeys& keys, ModelConfig& config) {
  config.embedding_scale = embedding_scale(config);
  // GGUF has no key for query_pre_attn_scalar: the 27B model, known by its depth, is the only one
  // where it is not head_dim.
  if (config.blocks == 46) {
    config.attention_scale = 1.0 / std::sqrt(static_cast<double>(config.hidden / config.heads));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window, keys.integer_or("attention.sliding_window",
                                                                   kDefaultWindow, 0, kMaxContext));
  std::vector<bool> local = even_blocks(config.blocks);
  if (keys.is_array("attention.sliding_window_pattern")) {
    COLDPRESS_ASSIGN_OR_RETURN(local,
                               keys.flags("attention.sliding_window_pattern", config.blocks));
  }
  set_windows(local, window, config);
  return {};
}

}  // namespace

extern const Architecture kArchitecture_gemma2;
const Architecture kArchitecture_gemma2 = {
    .name = "gemma2",
    .hf_model_types = kModelTypes,
    .hf_class = "Gemma2ForCausalLM",
    .gguf_name = "gemma2",
    .roles = kRoles,
    .hf_defaults = R"({"vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216,
                        "num_hidden_layers": 26, "num_attention_heads": 8,
                        "num_key_value_heads": 4, "head_dim": 256,
                        "max_position_embeddings": 8192, "attn_logit_softcapping": 50.0,
                        "final_logit_softcapping": 30.0})",
    .hf_norm_offset = 1.0,
    .keys = {.activation = "hidden_activation"},
    .default_tied = true,
    .default_activation = "gelu_pytorch_tanh",
    .read_hf = read_hf,
    .read_gguf = read_gguf,
    .write_hf = write_hf,
};

}  // namespace coldpress
