// Gemma 3 (text): gains 1 + w, norms on both sides of attention and feed-forward, embeddings scaled
// by sqrt(hidden), five blocks with a local window and RoPE of their own to each global one.
#include <cmath>

#include "io/json.h"
#include "model/config_keys.h"
#include "model/gguf_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"gemma3_text"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd,    roles::kOutputNorm,
    roles::kOutput,       roles::kAttnNorm,
    roles::kAttnQ,        roles::kAttnK,
    roles::kAttnV,        roles::kAttnQBias,
    roles::kAttnKBias,    roles::kAttnVBias,
    roles::kAttnQNorm,    roles::kAttnKNorm,
    roles::kAttnO,        roles::kAttnOBias,
    roles::kAttnPostNorm, roles::kFfnNorm.in_hf("model.layers.{}.pre_feedforward_layernorm.weight"),
    roles::kFfnGate,      roles::kFfnUp,
    roles::kFfnDown,      roles::kFfnPostNorm,
};

constexpr int64_t kDefaultPattern = 6;  // every sixth block is global
constexpr double kLocalTheta = 10000.0;

// transformers multiplies by sqrt(hidden) rounded to the weights' type; in fp32 that is this.
double embedding_scale(const ModelConfig& config) {
  return std::sqrt(static_cast<float>(config.hidden));
}

std::vector<bool> every_nth_global(int64_t blocks, int64_t pattern) {
  std::vector<bool> local(static_cast<std::size_t>(blocks));
  for (int64_t i = 0; i < blocks; ++i) local[static_cast<std::size_t>(i)] = (i + 1) % pattern != 0;
  return local;
}

// `local_rope` for the blocks with a window, `config.rope[0]` for the others.
void set_windows(const std::vector<bool>& local, int64_t window, const RopeConfig& local_rope,
                 ModelConfig& config) {
  const RopeConfig global_rope = config.rope.front();
  config.rope.clear();
  config.sliding_window.clear();
  for (const bool is_local : local) {
    config.sliding_window.push_back(is_local ? window : 0);
    config.rope.push_back(is_local ? local_rope : global_rope);
  }
}

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const double scalar,
                             keys.number_or("query_pre_attn_scalar", 256.0, 1e-3, 1e9));
  config.attention_scale = 1.0 / std::sqrt(scalar);
  config.embedding_scale = embedding_scale(config);
  COLDPRESS_RETURN_IF_ERROR(
      refuse_flag(keys, "use_bidirectional_attention", "only causal models can be pressed"));
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", 4096, 1, kMaxContext));
  std::vector<bool> local;
  if (keys.has("layer_types")) {
    COLDPRESS_ASSIGN_OR_RETURN(local, keys.layer_types(config.blocks));
  } else {
    const std::string old =
        keys.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
    COLDPRESS_ASSIGN_OR_RETURN(const int64_t pattern,
                               keys.integer_or(old, kDefaultPattern, 1, kMaxBlocks));
    local = every_nth_global(config.blocks, pattern);
  }
  RopeConfig local_rope{.dims = config.head_dim};
  COLDPRESS_ASSIGN_OR_RETURN(local_rope.theta,
                             keys.number_or("rope_local_base_freq", kLocalTheta, 1.0, kMaxTheta));
  COLDPRESS_ASSIGN_OR_RETURN(const auto nested, keys.child("rope_parameters"));
  if (nested && nested->has("sliding_attention")) {
    COLDPRESS_ASSIGN_OR_RETURN(const auto parameters, nested->child("sliding_attention"));
    COLDPRESS_ASSIGN_OR_RETURN(local_rope,
                               read_rope(*parameters, config.head_dim, local_rope.theta));
  }
  set_windows(local, window, local_rope, config);
  return {};
}

void write_hf(const ModelConfig& config, Json& json) {
  json["query_pre_attn_scalar"] = shortest_number(1.0 / std::pow(config.attention_scale, 2));
  for (std::size_t i = 0; i < config.sliding_window.size(); ++i) {
    if (config.sliding_window[i] == 0 || config.rope.size() == 1) continue;
    json["rope_local_base_freq"] = shortest_number(config.rope[i].theta);
  }
}

void write_gguf(const ModelConfig& config, GgufKeys& keys) {
  for (std::size_t i = 0; i < config.sliding_window.size(); ++i) {
    if (config.sliding_window[i] == 0 || config.rope.size() == 1) continue;
    keys.put("rope.freq_base_swa", config.rope[i].theta);
    return;
  }
}

Status read_gguf(const ConfigKeys& keys, ModelConfig& config) {
  config.embedding_scale = embedding_scale(config);
  // GGUF has no key for query_pre_attn_scalar: the 27B model, known by its depth, is the only one
  // where it is not head_dim.
  if (config.blocks == 62) {
    config.attention_scale = 1.0 / std::sqrt(static_cast<double>(config.hidden / config.heads));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("attention.sliding_window", 0, 0, kMaxContext));
  if (window == 0) return {};
  std::vector<bool> local;
  if (keys.is_array("attention.sliding_window_pattern")) {
    COLDPRESS_ASSIGN_OR_RETURN(local,
                               keys.flags("attention.sliding_window_pattern", config.blocks));
  } else {
    COLDPRESS_ASSIGN_OR_RETURN(
        const int64_t pattern,
        keys.integer_or("attention.sliding_window_pattern", kDefaultPattern, 1, kMaxBlocks));
    local = every_nth_global(config.blocks, pattern);
  }
  RopeConfig local_rope{.dims = config.head_dim};
  COLDPRESS_ASSIGN_OR_RETURN(local_rope.theta,
                             keys.number_or("rope.freq_base_swa", kLocalTheta, 1.0, kMaxTheta));
  set_windows(local, window, local_rope, config);
  return {};
}

}  // namespace

extern const Architecture kArchitecture_gemma3;
const Architecture kArchitecture_gemma3 = {
    .name = "gemma3",
    .hf_model_types = kModelTypes,
    .hf_class = "Gemma3ForCausalLM",
    .gguf_name = "gemma3",
    .roles = kRoles,
    .hf_defaults = R"({"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
                        "num_hidden_layers": 26, "num_attention_heads": 8,
                        "num_key_value_heads": 4, "head_dim": 256,
                        "max_position_embeddings": 131072})",
    .hf_norm_offset = 1.0,
    .keys = {.activation = "hidden_activation"},
    .default_tied = true,
    .default_rope_theta = 1e6,
    .default_activation = "gelu_pytorch_tanh",
    .read_hf = read_hf,
    .read_gguf = read_gguf,
    .write_hf = write_hf,
    .write_gguf = write_gguf,
};

}  // namespace coldpress
