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
    .gguf_interleaved_rope = true,
};

}  // namespace coldpress
