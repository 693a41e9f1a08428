#include "export/gguf_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "export/config_match.h"
#include "model/parse_config.h"
#include "tokenizer/hf_vocab.h"

namespace coldpress {
namespace {

constexpr int64_t kGemmaPattern = 6;  // llama.cpp's default: every sixth block sees everything

// The rotary configuration of the blocks without a window.
const RopeConfig& global_rope(const ModelConfig& c) {
  for (std::size_t i = 0; i < c.sliding_window.size() && c.rope.size() > 1; ++i) {
    if (c.sliding_window[i] == 0) return c.rope[i];
  }
  return c.rope.front();
}

bool all_equal(const std::vector<float>& v) {
  return std::all_of(v.begin(), v.end(), [&](float x) { return x == v.front(); });
}

std::string name_of(const Model& model) {
  const std::filesystem::path path = model.path().lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// Keys of the blocks' windows, where the model has some.
void put_windows(const ModelConfig& c, const std::string& prefix, GgufMetadata& out) {
  const auto window = std::max_element(c.sliding_window.begin(), c.sliding_window.end());
  if (window == c.sliding_window.end() || *window == 0) return;
  out.emplace_back(prefix + "attention.sliding_window",
                   GgufValue::u32(static_cast<uint32_t>(*window)));
  std::vector<bool> local;
  bool is_default = true;
  for (std::size_t i = 0; i < c.sliding_window.size(); ++i) {
    local.push_back(c.sliding_window[i] != 0);
    is_default = is_default && local[i] == ((static_cast<int64_t>(i) + 1) % kGemmaPattern != 0);
  }
  if (!is_default) {
    out.emplace_back(prefix + "attention.sliding_window_pattern", GgufValue::bools(local));
  }
  for (std::size_t i = 0; i < c.sliding_window.size() && c.rope.size() > 1; ++i) {
    if (!local[i]) continue;
    out.emplace_back(prefix + "rope.freq_base_swa",
                     GgufValue::f32(static_cast<float>(c.rope[i].theta)));
    return;
  }
}

GgufMetadata config_metadata(const Model& model) {
  const ModelConfig& c = model.config();
  const std::string arch(model.architecture().gguf_name);
  const std::string prefix = arch + ".";
  GgufMetadata out = {{"general.architecture", GgufValue::string(arch)},
                      {"general.type", GgufValue::string("model")},
                      {"general.name", GgufValue::string(name_of(model))}};
  const auto put = [&](const char* key, int64_t value) {
    out.emplace_back(prefix + key, GgufValue::u32(static_cast<uint32_t>(value)));
  };
  const auto put_float = [&](const char* key, double value) {
    out.emplace_back(prefix + key, GgufValue::f32(static_cast<float>(value)));
  };
  put("block_count", c.blocks);
  put("context_length", c.context);
  put("embedding_length", c.hidden);
  put("feed_forward_length", c.ffn);
  put("attention.head_count", c.heads);
  put("attention.head_count_kv", c.kv_heads);
  put("attention.key_length", c.head_dim);
  put("attention.value_length", c.head_dim);
  put_float("attention.layer_norm_rms_epsilon", c.norm_eps);
  put("vocab_size", c.vocab);
  const RopeConfig& rope = global_rope(c);
  put_float("rope.freq_base", rope.theta);
  put("rope.dimension_count", c.head_dim);
  if (!rope.factors.empty() && all_equal(rope.factors)) {
    out.emplace_back(prefix + "rope.scaling.type", GgufValue::string("linear"));
    put_float("rope.scaling.factor", rope.factors.front());
  }
  put_windows(c, prefix, out);
  if (c.attention_softcap != 0) put_float("attn_logit_softcapping", c.attention_softcap);
  if (c.logit_softcap != 0) put_float("final_logit_softcapping", c.logit_softcap);
  return out;
}

}  // namespace

std::vector<float> rope_factor_tensor(const ModelConfig& config) {
  const RopeConfig& rope = global_rope(config);
  return rope.factors.empty() || all_equal(rope.factors) ? std::vector<float>() : rope.factors;
}

Result<GgufMetadata> gguf_metadata_of(const Model& model, const std::vector<OutputTensor>& tensors,
                                      const std::string& tokenizer_pre) {
  const std::string where = model.path().string();
  GgufContent content;
  content.metadata = config_metadata(model);
  for (const OutputTensor& t : tensors)
    content.tensors.push_back({t.name, t.shape, t.ggml_type, {}});
  auto read = parse_gguf_config(content, where);
  if (!read.ok()) return read.status().with_context("cannot be written as GGUF");
  // The tensor of factors multiplies what the keys say (model/source.cc).
  const std::vector<float> factors = rope_factor_tensor(model.config());
  for (RopeConfig& rope : read->rope) {
    if (!factors.empty()) rope.factors = factors;
  }
  if (const auto what = first_difference(model.config(), *read)) {
    return unsupported(
        fmt::format("{}: GGUF cannot express this model's {}; choose a folder as the "
                    "output",
                    where, *what));
  }
  COLDPRESS_ASSIGN_OR_RETURN(GgufMetadata vocab,
                             hf_tokenizer_metadata(model.path(), tokenizer_pre));
  for (auto& entry : vocab) content.metadata.push_back(std::move(entry));
  return std::move(content.metadata);
}

}  // namespace coldpress
