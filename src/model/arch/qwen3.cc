// Qwen3 (dense): RMS norms on the heads of q and k, head_dim independent of hidden / heads.
#include "model/arch/qwen.h"
#include "model/config_keys.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen3"};

}  // namespace

extern const Architecture kArchitecture_qwen3;
const Architecture kArchitecture_qwen3 = {
    .name = "qwen3",
    .hf_model_types = kModelTypes,
    .hf_class = "Qwen3ForCausalLM",
    .gguf_name = "qwen3",
    .roles = qwen::kRoles3,
    .hf_defaults = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
                        "num_hidden_layers": 32, "num_attention_heads": 32,
                        "num_key_value_heads": 32, "head_dim": 128,
                        "max_position_embeddings": 32768})",
    .read_hf = read_optional_sliding_window,
};

}  // namespace coldpress
