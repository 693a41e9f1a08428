// Qwen2 and Qwen2.5: biases on q, k and v, whatever the configuration says.
#include "model/arch/qwen.h"
#include "model/config_keys.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen2"};

}  // namespace

extern const Architecture kArchitecture_qwen2;
const Architecture kArchitecture_qwen2 = {
    .name = "qwen2",
    .hf_model_types = kModelTypes,
    .hf_class = "Qwen2ForCausalLM",
    .gguf_name = "qwen2",
    .roles = qwen::kRoles2,
    .hf_defaults = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
                        "num_hidden_layers": 32, "num_attention_heads": 32,
                        "num_key_value_heads": 32, "max_position_embeddings": 32768})",
    .read_hf = read_optional_sliding_window,
};

}  // namespace coldpress
