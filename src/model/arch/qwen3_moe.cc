// Qwen3 with a mixture of experts in every block. Experts are one tensor each, or all in one 3-D
// tensor with gate and up fused, as newer versions of transformers hold them.
#include "model/config_keys.h"
#include "model/gguf_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen3_moe"};

constexpr RoleSpec kRoles[] = {
    roles::kTokenEmbd,
    roles::kOutputNorm,
    roles::kOutput,
    roles::kAttnNorm,
    roles::kAttnQ,
    roles::kAttnK,
    roles::kAttnV,
    roles::kAttnQBias,
    roles::kAttnKBias,
    roles::kAttnVBias,
    roles::kAttnQNorm,
    roles::kAttnKNorm,
    roles::kAttnO,
    roles::kAttnOBias,
    roles::kFfnNorm,
    roles::kFfnRouter,
    roles::kFfnGateUpExps,
    roles::kFfnGateExps.with(Presence::kSplit),
    roles::kFfnUpExps.with(Presence::kSplit),
    roles::kFfnDownExps.stacked("model.layers.{}.mlp.experts.down_proj"),
};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_RETURN_IF_ERROR(read_optional_sliding_window(keys, config));
  COLDPRESS_ASSIGN_OR_RETURN(config.normalise_routes, keys.flag_or("norm_topk_prob", false));
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t step,
                             keys.integer_or("decoder_sparse_step", 1, 1, kMaxBlocks));
  if (step != 1 || (keys.has("mlp_only_layers") && !keys.is_empty_array("mlp_only_layers"))) {
    return unsupported(keys.where(step != 1 ? "decoder_sparse_step" : "mlp_only_layers") +
                       " makes some blocks dense, but only models with experts in every block are "
                       "supported");
  }
  return {};
}

void write_hf(const ModelConfig& config, Json& json) {
  json["norm_topk_prob"] = config.normalise_routes;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = Json::array();
}

Status read_gguf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(
      config.ffn, keys.integer_or("expert_feed_forward_length", config.ffn, 1, kMaxWidth));
  return {};
}

void write_gguf(const ModelConfig& config, GgufKeys& keys) {
  keys.put("expert_feed_forward_length", config.ffn);
}

}  // namespace

extern const Architecture kArchitecture_qwen3_moe;
const Architecture kArchitecture_qwen3_moe = {
    .name = "qwen3-moe",
    .hf_model_types = kModelTypes,
    .hf_class = "Qwen3MoeForCausalLM",
    .gguf_name = "qwen3moe",
    .roles = kRoles,
    .keys = {.ffn = "moe_intermediate_size", .experts = "num_experts|num_local_experts"},
    .read_hf = read_hf,
    .read_gguf = read_gguf,
    .write_hf = write_hf,
    .write_gguf = write_gguf,
};

}  // namespace coldpress
