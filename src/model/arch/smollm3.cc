// SmolLM3: the Llama layout; some blocks (every fourth, unless told otherwise) have no RoPE.
#include "io/json.h"
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"smollm3"};
constexpr int64_t kDefaultInterval = 4;

std::vector<bool> all_but_every(int64_t interval, int64_t blocks) {
  std::vector<bool> rotates;
  for (int64_t i = 0; i < blocks; ++i) rotates.push_back((i + 1) % interval != 0);
  return rotates;
}

void set_rope(const std::vector<bool>& rotates, ModelConfig& config) {
  const RopeConfig rope = config.rope.front();
  config.rope.clear();
  for (const bool r : rotates) config.rope.push_back(r ? rope : RopeConfig{.theta = rope.theta});
}

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_RETURN_IF_ERROR(read_optional_sliding_window(keys, config));
  if (keys.has("no_rope_layers")) {  // 1: the block rotates
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<bool> rotates,
                               keys.flags("no_rope_layers", config.blocks));
    set_rope(rotates, config);
    return {};
  }
  COLDPRESS_ASSIGN_OR_RETURN(
      const int64_t interval,
      keys.integer_or("no_rope_layer_interval", kDefaultInterval, 1, kMaxBlocks));
  set_rope(all_but_every(interval, config.blocks), config);
  return {};
}

void write_hf(const ModelConfig& config, Json& json) {
  json["no_rope_layers"] = Json::array();
  for (const RopeConfig& rope : config.rope)
    json["no_rope_layers"].push_back(rope.dims > 0 ? 1 : 0);
}

// GGUF has no key for it.
Status read_gguf(const ConfigKeys& /*keys*/, ModelConfig& config) {
  set_rope(all_but_every(kDefaultInterval, config.blocks), config);
  return {};
}

}  // namespace

extern const Architecture kArchitecture_smollm3;
const Architecture kArchitecture_smollm3 = {
    .name = "smollm3",
    .hf_model_types = kModelTypes,
    .hf_class = "SmolLM3ForCausalLM",
    .gguf_name = "smollm3",
    .roles = roles::kLlama,
    .gguf_interleaved_rope = true,
    .default_tied = true,
    .default_rope_theta = 2e6,
    .read_hf = read_hf,
    .read_gguf = read_gguf,
    .write_hf = write_hf,
};

}  // namespace coldpress
