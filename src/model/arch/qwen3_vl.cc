// The language model of Qwen3-VL: Qwen3, whose rotary pairs are counted in sections. Its image
// encoder adds to the first blocks' outputs, of which text has nothing.
#include "model/arch/qwen.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen3_vl_text"};

}  // namespace

extern const Architecture kArchitecture_qwen3_vl;
const Architecture kArchitecture_qwen3_vl = {
    .name = "qwen3-vl",
    .hf_model_types = kModelTypes,
    .hf_class = "",
    .gguf_name = "",  // its file names the blocks that images reach, which only the encoder knows
    .roles = qwen::kRoles3,
    .hf_defaults = R"({"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016,
                        "num_hidden_layers": 32, "num_attention_heads": 32,
                        "num_key_value_heads": 32, "head_dim": 128,
                        "max_position_embeddings": 128000})",
    .default_rope_theta = 5e5,
};

}  // namespace coldpress
