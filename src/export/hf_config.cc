#include "export/hf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "export/config_match.h"
#include "export/hf_files.h"
#include "io/gguf.h"
#include "io/json.h"
#include "model/config_keys.h"
#include "model/parse_config.h"

namespace coldpress {
namespace {

std::string_view activation_name(Activation a) {
  if (a == Activation::kSilu) return "silu";
  if (a == Activation::kRelu) return "relu";
  return a == Activation::kGelu ? "gelu" : "gelu_pytorch_tanh";
}

// Whether the blocks have the biases that one flag of config.json stands for: all, none, or some.
enum class Biases { kNone, kAll, kSome };
Biases biases(const Model& model, Presence flag) {
  int present = 0;
  int absent = 0;
  for (const RoleSpec& role : model.architecture().roles) {
    if (role.presence != flag) continue;
    for (int block = 0; block < model.config().blocks; ++block) {
      ++(model.role_tensor(role.role, block).has_value() ? present : absent);
    }
  }
  if (present == 0) return Biases::kNone;
  return absent == 0 ? Biases::kAll : Biases::kSome;
}

// What "rope_scaling" may have been, for factors that GGUF keeps as numbers without a rule. The
// published Llama-3 models use these; the caller keeps the one that gives the same factors.
std::vector<Json> rope_scalings(const RopeConfig& rope) {
  if (rope.factors.empty()) return {Json(nullptr)};
  std::vector<Json> out = {
      {{"rope_type", "linear"}, {"factor", shortest_number(rope.factors.front())}}};
  for (const double factor : {8.0, 32.0, 4.0, 16.0, 2.0}) {
    for (const int64_t original : {8192, 4096, 16384, 32768}) {
      out.push_back({{"rope_type", "llama3"},
                     {"factor", factor},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", original}});
    }
  }
  return out;
}

const RopeConfig& rope_where(const ModelConfig& c, bool local) {
  for (std::size_t i = 0; i < c.sliding_window.size() && c.rope.size() > 1; ++i) {
    if ((c.sliding_window[i] != 0) == local) return c.rope[i];
  }
  return c.rope.front();
}

Json config_of(const Model& model, DType dense_type) {
  const ModelConfig& c = model.config();
  const Architecture& arch = model.architecture();
  Json json;
  json["architectures"] = Json::array({std::string(arch.hf_class)});
  json["model_type"] = std::string(arch.hf_model_types.front());
  const ConfigNames& names = arch.keys;
  const auto put = [&](std::string_view spellings, Json value) {
    if (!spellings.empty()) {
      json[std::string(spellings.substr(0, spellings.find('|')))] = std::move(value);
    }
  };
  put(names.hidden, c.hidden);
  put(names.ffn, c.ffn);
  put(names.blocks, c.blocks);
  put(names.heads, c.heads);
  put(names.kv_heads, c.kv_heads);
  put(names.head_dim, c.head_dim);
  put(names.activation, std::string(activation_name(c.activation)));
  put(names.context, c.context);
  put(names.norm_eps, shortest_number(c.norm_eps));
  if (c.experts > 0) {
    put(names.experts, c.experts);
    put(names.experts_used, c.experts_used);
  }
  const RopeConfig& rope = rope_where(c, false);
  if (arch.positions == Positions::kRotary) json["rope_theta"] = shortest_number(rope.theta);
  if (arch.partial_rotary) {
    json["partial_rotary_factor"] =
        static_cast<double>(rope.dims) / static_cast<double>(c.head_dim);
  }
  json["tie_word_embeddings"] = c.tied_embeddings;
  json["vocab_size"] = c.vocab;
  json["attention_bias"] = biases(model, Presence::kAttentionBias) == Biases::kAll;
  json["mlp_bias"] = biases(model, Presence::kMlpBias) == Biases::kAll;
  if (c.attention_softcap != 0)
    json["attn_logit_softcapping"] = shortest_number(c.attention_softcap);
  if (c.logit_softcap != 0) json["final_logit_softcapping"] = shortest_number(c.logit_softcap);
  if (!c.sliding_window.empty()) {
    json["sliding_window"] = *std::max_element(c.sliding_window.begin(), c.sliding_window.end());
    json["layer_types"] = Json::array();
    for (const int64_t window : c.sliding_window) {
      json["layer_types"].push_back(window != 0 ? "sliding_attention" : "full_attention");
    }
  }
  if (arch.write_hf != nullptr) arch.write_hf(c, json);
  json["torch_dtype"] = "";
  json["use_cache"] = true;
  put_online_parts(c.online, json);
  // The name of the type is edited in by the same code that edits a source's config.json.
  return Json::parse(with_dtype(json.dump(), dense_type));
}

void put_token_ids(const GgufContent& content, Json& json) {
  for (const char* token : {"bos", "eos", "pad"}) {
    const std::string gguf = token == std::string("pad") ? "padding" : token;
    const GgufValue* id = content.find("tokenizer.ggml." + gguf + "_token_id");
    const auto value = id == nullptr ? std::nullopt : id->as_int();
    json[std::string(token) + "_token_id"] = value.has_value() ? Json(*value) : Json(nullptr);
  }
}

}  // namespace

Result<HfFolderFiles> hf_files_of(const Model& model, DType dense_type,
                                  const std::string& tokenizer_pre) {
  const std::string where = model.path().string();
  if (model.architecture().hf_class.empty()) {
    return unsupported(
        fmt::format("{}: a folder of {} needs its image encoder, which is not in this file; choose "
                    "NAME.gguf as the output",
                    where, model.architecture().name));
  }
  for (const Presence flag : {Presence::kAttentionBias, Presence::kMlpBias}) {
    if (biases(model, flag) == Biases::kSome) {
      return unsupported(where +
                         ": some linears have biases and some have none, which config.json "
                         "cannot express; choose NAME.gguf as the output");
    }
  }
  COLDPRESS_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::open(model.path()));
  HfFolderFiles out;
  Json config = config_of(model, dense_type);
  put_token_ids(file.content(), config);
  std::string what;
  for (const Json& scaling : rope_scalings(rope_where(model.config(), false))) {
    config["rope_scaling"] = scaling;
    out.config_json = config.dump(2) + "\n";
    COLDPRESS_ASSIGN_OR_RETURN(const ModelConfig read, parse_hf_config(out.config_json, where));
    const auto difference = first_difference(model.config(), read);
    what = difference.value_or("");
    if (what.empty()) break;
  }
  if (!what.empty()) {
    return unsupported(
        fmt::format("{}: config.json cannot express this model's {}; choose "
                    "NAME.gguf as the output",
                    where, what));
  }
  COLDPRESS_ASSIGN_OR_RETURN(out.tokenizer,
                             hf_tokenizer_files(file.content().metadata, where, tokenizer_pre));
  return out;
}

}  // namespace coldpress
