// Qwen3 with a mixture of experts in every block or in most. Experts are one tensor each, or all in
// one 3-D tensor with gate and up fused, as newer versions of transformers hold them.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "io/json.h"
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
    roles::dense_block(roles::kFfnGate),
    roles::dense_block(roles::kFfnUp),
    roles::dense_block(roles::kFfnDown),
};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_RETURN_IF_ERROR(read_optional_sliding_window(keys, config));
  COLDPRESS_ASSIGN_OR_RETURN(config.normalise_routes, keys.flag_or("norm_topk_prob", false));
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t step,
                             keys.integer_or("decoder_sparse_step", 1, 1, kMaxBlocks));
  std::vector<int64_t> dense;
  if (keys.has("mlp_only_layers")) {
    COLDPRESS_ASSIGN_OR_RETURN(dense,
                               keys.integers("mlp_only_layers", std::nullopt, 0, kMaxBlocks));
  }
  std::vector<bool> is_dense;
  for (int64_t block = 0; block < config.blocks; ++block) {
    is_dense.push_back((block + 1) % step != 0 ||
                       std::find(dense.begin(), dense.end(), block) != dense.end());
  }
  if (std::find(is_dense.begin(), is_dense.end(), true) == is_dense.end()) return {};
  if (std::find(is_dense.begin(), is_dense.end(), false) == is_dense.end()) {
    return unsupported(keys.where("mlp_only_layers") +
                       " leaves no block with experts; such a model is a Qwen3");
  }
  config.dense_blocks = std::move(is_dense);
  COLDPRESS_ASSIGN_OR_RETURN(config.dense_ffn, keys.integer("intermediate_size", 1, kMaxWidth));
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
