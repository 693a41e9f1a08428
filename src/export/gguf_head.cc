#include "export/gguf_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "export/config_match.h"
#include "io/json.h"
#include "model/gguf_keys.h"
#include "model/parse_config.h"
#include "tokenizer/hf_vocab.h"

namespace coldpress {
namespace {

constexpr int64_t kGemmaPattern = 6;  // llama.cpp's default: every sixth block sees everything

// The rotary configuration of the blocks without a window, of those that have one.
const RopeConfig& global_rope(const ModelConfig& c) {
  for (std::size_t i = 0; i < c.rope.size(); ++i) {
    const bool local = i < c.sliding_window.size() && c.sliding_window[i] != 0;
    if (c.rope[i].dims > 0 && (!local || c.rope.size() == 1)) return c.rope[i];
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
}

void put_rope(const ModelConfig& c, GgufKeys& keys) {
  const RopeConfig& rope = global_rope(c);
  if (rope.dims == 0) return;
  keys.put("rope.freq_base", rope.theta);
  keys.put("rope.dimension_count", rope.dims);
  if (rope.factors.empty() || !all_equal(rope.factors)) return;
  keys.put("rope.scaling.type", GgufValue::string("linear"));
  keys.put("rope.scaling.factor", static_cast<double>(rope.factors.front()));
}

GgufMetadata config_metadata(const Model& model) {
  const ModelConfig& c = model.config();
  const std::string arch(model.architecture().gguf_name);
  const std::string prefix = arch + ".";
  GgufMetadata out = {{"general.architecture", GgufValue::string(arch)},
                      {"general.type", GgufValue::string("model")},
                      {"general.name", GgufValue::string(name_of(model))}};
  GgufKeys keys(out, prefix);
  keys.put("block_count", c.blocks);
  keys.put("context_length", c.context);
  keys.put("embedding_length", c.hidden);
  keys.put("feed_forward_length", c.ffn);
  keys.put("attention.head_count", c.heads);
  keys.put("attention.head_count_kv", c.kv_heads);
  keys.put("attention.key_length", c.head_dim);
  keys.put("attention.value_length", c.head_dim);
  keys.put(c.norm == NormKind::kRms ? "attention.layer_norm_rms_epsilon"
                                    : "attention.layer_norm_epsilon",
           c.norm_eps);
  keys.put("vocab_size", c.vocab);
  put_rope(c, keys);
  put_windows(c, prefix, out);
  if (c.attention_softcap != 0) keys.put("attn_logit_softcapping", c.attention_softcap);
  if (c.logit_softcap != 0) keys.put("final_logit_softcapping", c.logit_softcap);
  if (c.experts > 0) {
    keys.put("expert_count", c.experts);
    keys.put("expert_used_count", c.experts_used);
  }
  if (model.architecture().write_gguf != nullptr) model.architecture().write_gguf(c, keys);
  put_online_parts(c.online, out);
  return out;
}

}  // namespace

void put_online_parts(const OnlineParts& online, GgufMetadata& metadata) {
  if (online.empty()) return;
  std::erase_if(metadata, [](const auto& entry) { return entry.first == kGgufOnlineKey; });
  metadata.emplace_back(kGgufOnlineKey, GgufValue::string(online_to_json(online).dump()));
  if (!online.are_needed()) return;
  for (auto& [key, value] : metadata) {
    if (key != "general.architecture") continue;
    const std::string family = without_online_mark(value.as_string().value_or(""));
    value = GgufValue::string(kOnlineMark + family);
  }
}

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
    if (!factors.empty() && rope.dims > 0) rope.factors = factors;
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
