// The language model of Qwen2-VL and Qwen2.5-VL: Qwen2, whose rotary pairs are counted in sections.
#include "model/arch/qwen.h"
#include "model/config_keys.h"
#include "model/gguf_keys.h"
#include "model/table.h"

namespace coldpress {
namespace {

constexpr std::string_view kModelTypes[] = {"qwen2_vl", "qwen2_5_vl", "qwen2_vl_text",
                                            "qwen2_5_vl_text"};

void write_gguf(const ModelConfig& config, GgufKeys& keys) {
  const std::vector<int64_t>& sections = config.rope.front().sections;
  if (sections.empty()) return;
  std::vector<int32_t> four(sections.begin(), sections.end());
  four.push_back(0);  // GGUF has room for a fourth dimension
  keys.put("rope.dimension_sections", GgufValue::i32s(four));
}

}  // namespace

extern const Architecture kArchitecture_qwen2_vl;
const Architecture kArchitecture_qwen2_vl = {
    .name = "qwen2-vl",
    .hf_model_types = kModelTypes,
    .hf_class = "",
    .gguf_name = "qwen2vl",
    .roles = qwen::kRoles2,
    .hf_defaults = R"({"vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568,
                        "num_hidden_layers": 80, "num_attention_heads": 64,
                        "num_key_value_heads": 8, "max_position_embeddings": 32768})",
    .default_norm_eps = 1e-5,
    .default_rope_theta = 1e6,
    .read_hf = read_optional_sliding_window,
    .write_gguf = write_gguf,
};

}  // namespace coldpress
