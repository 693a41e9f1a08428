// Mistral: the Llama layout, with one sliding window for all blocks in the first models.
#include "model/config_keys.h"
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"mistral"};

Status read_hf(const ConfigKeys& keys, ModelConfig& config) {
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t window,
                             keys.integer_or("sliding_window", 0, 1, kMaxContext));
  if (window > 0) {
    config.sliding_window.assign(static_cast<std::size_t>(config.blocks), window);
  }
  return {};
}

}  // namespace

extern const Architecture kArchitecture_mistral;
const Architecture kArchitecture_mistral = {
    .name = "mistral",
    .hf_model_types = kModelTypes,
    .hf_class = "MistralForCausalLM",
    .gguf_name = "llama",
    .reads_gguf = false,
    .roles = roles::kLlama,
    .hf_defaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
                        "num_hidden_layers": 32, "num_attention_heads": 32,
                        "num_key_value_heads": 8, "max_position_embeddings": 131072,
                        "sliding_window": 4096})",
    .gguf_interleaved_rope = true,
    .read_hf = read_hf,
};

}  // namespace coldpress
