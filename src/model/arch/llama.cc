// Llama 1-3.x, SmolLM, and every family that publishes itself as "llama".
#include "model/roles.h"
#include "model/table.h"

namespace coldpress {

static constexpr std::string_view kModelTypes[] = {"llama"};

extern const Architecture kArchitecture_llama;
const Architecture kArchitecture_llama = {
    .name = "llama",
    .hf_model_types = kModelTypes,
    .hf_class = "LlamaForCausalLM",
    .gguf_name = "llama",
    .roles = roles::kLlama,
    .hf_defaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
                        "num_hidden_layers": 32, "num_attention_heads": 32})",
    .gguf_interleaved_rope = true,
};

}  // namespace coldpress
