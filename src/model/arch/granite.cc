// Granite 3 (dense): the Llama layout with four multipliers.
#include "io/json.h"
#include "model/config_keys.h"
#include "model/gguf_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"granite"};
constexpr double kMost = 1e6;
constexpr double kLeast = 1e-9;

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(config.attention_scale,
                             keys.number_or("attention_multiplier", 1.0, kLeast, kMost));
  COLDPRESS_ASSIGN_OR_RETURN(config.embedding_scale,
                             keys.number_or("embedding_multiplier", 1.0, kLeast, kMost));
  COLDPRESS_ASSIGN_OR_RETURN(config.residual_scale,
                             keys.number_or("residual_multiplier", 1.0, kLeast, kMost));
  COLDPRESS_ASSIGN_OR_RETURN(const double divisor,
                             keys.number_or("logits_scaling", 1.0, kLeast, kMost));
  config.logit_scale = 1.0 / divisor;
  return {};
}

Status read_gguf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(
      config.attention_scale,
      keys.number_or("attention.scale", config.attention_scale, kLeast, kMost));
  COLDPRESS_ASSIGN_OR_RETURN(config.embedding_scale,
                             keys.number_or("embedding_scale", 1.0, kLeast, kMost));
  COLDPRESS_ASSIGN_OR_RETURN(config.residual_scale,
                             keys.number_or("residual_scale", 1.0, kLeast, kMost));
  COLDPRESS_ASSIGN_OR_RETURN(const double divisor,
                             keys.number_or("logit_scale", 1.0, kLeast, kMost));
  config.logit_scale = 1.0 / divisor;
  return {};
}

void write_hf(const ModelConfig& config, Json& json) {
  json["attention_multiplier"] = shortest_number(config.attention_scale);
  json["embedding_multiplier"] = shortest_number(config.embedding_scale);
  json["residual_multiplier"] = shortest_number(config.residual_scale);
  json["logits_scaling"] = shortest_number(1.0 / config.logit_scale);
}

void write_gguf(const ModelConfig& config, GgufKeys& keys) {
  keys.put("attention.scale", config.attention_scale);
  keys.put("embedding_scale", config.embedding_scale);
  keys.put("residual_scale", config.residual_scale);
  keys.put("logit_scale", 1.0 / config.logit_scale);
}

}  // namespace

extern const Architecture kArchitecture_granite;
const Architecture kArchitecture_granite = {
    .name = "granite",
    .hf_model_types = kModelTypes,
    .hf_class = "GraniteForCausalLM",
    .gguf_name = "granite",
    .roles = roles::kLlama,
    .gguf_interleaved_rope = true,
    .read_hf = read_hf,
    .read_gguf = read_gguf,
    .write_hf = write_hf,
    .write_gguf = write_gguf,
};

}  // namespace coldpress
