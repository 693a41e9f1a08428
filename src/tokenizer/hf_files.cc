// hf_tokenizer_files: GGUF's byte-level BPE keys written as tokenizer.json.
#include <fmt/format.h>

#include "io/json.h"
#include "tokenizer/hf_vocab.h"
#include "tokenizer/pre_tokenizer.h"

namespace coldpress {
namespace {

// An object of many members: Json's own insertion looks each key up among all before it.
Json large_object(std::vector<std::pair<std::string, Json>> members) {
  Json object = Json::object();
  using Members = Json::object_t::Container;
  auto& out = static_cast<Members&>(object.get_ref<Json::object_t&>());
  out.reserve(members.size());
  for (auto& [key, value] : members) out.emplace_back(std::move(key), std::move(value));
  return object;
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json post_processor(const Vocab& v) {
  if (!*v.add_bos) return nullptr;
  const std::string& bos = v.tokens[static_cast<std::size_t>(*v.bos)];
  const Json special = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
  const auto sequence = [](const char* id, int type) -> Json {
    return {{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  Json out;
  out["type"] = "TemplateProcessing";
  out["single"] = Json::array({special, sequence("A", 0)});
  out["pair"] = Json::array({special, sequence("A", 0), special, sequence("B", 1)});
  out["special_tokens"][bos] = {
      {"id", bos}, {"ids", Json::array({*v.bos})}, {"tokens", Json::array({bos})}};
  return out;
}

}  // namespace

Result<HfTokenizerFiles> hf_tokenizer_files(const GgufMetadata& metadata, const std::string& where,
                                            const std::string& chosen_pre) {
  COLDPRESS_ASSIGN_OR_RETURN(Vocab v, vocab_from_metadata(metadata, where, chosen_pre));
  if (v.model != "gpt2") {
    return unsupported(fmt::format(
        "{}: a tokenizer of model \"{}\" cannot be written as tokenizer.json (known: gpt2)", where,
        v.model));
  }
  COLDPRESS_ASSIGN_OR_RETURN(PreTokenizerJson pre, pre_tokenizer_json(v.pre, where));
  v.add_bos = v.add_bos.value_or(pre.adds_bos) && v.bos.has_value();

  Json added = Json::array();
  std::vector<std::pair<std::string, Json>> vocab;
  vocab.reserve(v.tokens.size());
  for (std::size_t id = 0; id < v.tokens.size(); ++id) {
    const bool special = v.types[id] == TokenType::kControl || v.types[id] == TokenType::kUnknown;
    if (special || v.types[id] == TokenType::kUserDefined) {
      added.push_back({{"id", id},
                       {"content", v.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", special}});
    }
    vocab.emplace_back(v.tokens[id], Json(id));
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  Json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", pre.ignore_merges}};
  model["vocab"] = large_object(std::move(vocab));
  model["merges"] = v.merges;
  Json tokenizer;
  tokenizer["version"] = "1.0";
  tokenizer["truncation"] = nullptr;
  tokenizer["padding"] = nullptr;
  tokenizer["added_tokens"] = std::move(added);
  tokenizer["normalizer"] = nullptr;
  tokenizer["pre_tokenizer"] = std::move(pre.node);
  tokenizer["post_processor"] = post_processor(v);
  tokenizer["decoder"] = byte_level;
  tokenizer["model"] = std::move(model);

  Json config;
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["clean_up_tokenization_spaces"] = false;
  const auto set_token = [&](const char* key, std::optional<int32_t> id) {
    if (id) config[key] = v.tokens[static_cast<std::size_t>(*id)];
  };
  set_token("bos_token", v.bos);
  set_token("eos_token", v.eos);
  set_token("unk_token", v.unk);
  set_token("pad_token", v.pad);
  config["add_bos_token"] = *v.add_bos;
  if (v.add_eos) config["add_eos_token"] = *v.add_eos;
  if (!v.chat_template.empty()) config["chat_template"] = v.chat_template;
  return HfTokenizerFiles{dump(tokenizer), dump(config)};
}

}  // namespace coldpress
