#include "tokenizer/hf_vocab.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "io/file.h"
#include "io/json.h"
#include "model/parse_config.h"
#include "tokenizer/hf_unigram.h"
#include "tokenizer/json_members.h"
#include "tokenizer/pre_tokenizer.h"

namespace coldpress {
namespace {

// Ids without a token, inside the vocabulary or after it, that a folder may have: embedding tables
// are padded by a few hundred rows, and a bare number in a file justifies no more memory than this.
constexpr int64_t kMaxUnused = 1 << 16;

std::optional<int64_t> integer(const Json& node, std::string_view key) {
  const Json* v = member(node, key);
  if (v == nullptr || !v->is_number_integer()) return std::nullopt;
  if (v->is_number_unsigned() && v->get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
    return std::nullopt;
  }
  return v->get<int64_t>();
}

std::string marks_to_spaces(std::string_view token) {
  std::string out;
  for (std::size_t at; (at = token.find(kSpaceMark)) != std::string_view::npos;) {
    out.append(token.substr(0, at)).push_back(' ');
    token.remove_prefix(at + kSpaceMark.size());
  }
  return out.append(token);
}

struct Folder {
  std::string where;  // path of tokenizer.json
  Json tokenizer;
  Json tokenizer_config;  // null if absent
  Json config;            // the language model's (model/parse_config.h); null if absent
  std::string chat_template;
};

Result<Folder> read_folder(const std::filesystem::path& path) {
  Folder folder;
  folder.where = (path / "tokenizer.json").string();
  const auto exists = [&](const char* name) {
    std::error_code ec;
    return std::filesystem::is_regular_file(path / name, ec);
  };
  if (!exists("tokenizer.json")) {
    return not_found(fmt::format(
        "{}: no such file; a Hugging Face model folder needs it to tokenise text", folder.where));
  }
  COLDPRESS_ASSIGN_OR_RETURN(folder.tokenizer, read_json_file(path / "tokenizer.json"));
  if (exists("tokenizer_config.json")) {
    COLDPRESS_ASSIGN_OR_RETURN(folder.tokenizer_config,
                               read_json_file(path / "tokenizer_config.json"));
  }
  if (exists("config.json")) {
    COLDPRESS_ASSIGN_OR_RETURN(const Json config, read_json_file(path / "config.json"));
    COLDPRESS_ASSIGN_OR_RETURN(folder.config,
                               hf_language_config(config, (path / "config.json").string()));
  }
  folder.chat_template = text(folder.tokenizer_config, "chat_template");
  // Several templates: a list of names and texts.
  const Json* named = member(folder.tokenizer_config, "chat_template");
  for (std::size_t i = 0; named != nullptr && named->is_array() && i < named->size(); ++i) {
    if (text((*named)[i], "name") == "default")
      folder.chat_template = text((*named)[i], "template");
  }
  if (exists("chat_template.jinja")) {
    COLDPRESS_ASSIGN_OR_RETURN(folder.chat_template, read_text_file(path / "chat_template.jinja"));
  }
  return folder;
}

struct Tokens {
  std::vector<std::string> names;                // by id
  std::vector<int32_t> types;                    // by id
  std::unordered_map<std::string, int32_t> ids;  // model vocabulary and added tokens, as spelled
};

std::string unknown_token(const Json& model, const Unigram* unigram) {
  return unigram == nullptr ? text(model, "unk_token")
                            : unigram->pieces[static_cast<std::size_t>(unigram->unk)];
}

// "model"."vocab" (or the unigram's pieces) and "added_tokens", by id, holes and padding filled.
Result<Tokens> read_tokens(const Folder& folder, bool sentencepiece, const Unigram* unigram) {
  const std::string& where = folder.where;
  const Json& model = folder.tokenizer.at("model");
  const Json* vocab = member(model, "vocab");
  if (unigram == nullptr && (vocab == nullptr || !vocab->is_object() || vocab->empty())) {
    return corrupt(where + ": model.vocab is not an object of tokens and ids");
  }
  Tokens out;
  int64_t highest = -1;
  const auto add = [&](const std::string& token, const Json& id_node) -> Status {
    if (!id_node.is_number_integer() || id_node < 0 || id_node >= kMaxTokens) {
      return corrupt(
          fmt::format("{}: token {} has the id {}", where, shown(Json(token)), shown(id_node)));
    }
    const auto id = id_node.get<int64_t>();
    const auto [it, inserted] = out.ids.emplace(token, static_cast<int32_t>(id));
    if (!inserted && it->second != id) {
      return corrupt(fmt::format("{}: token {} has two ids, {} and {}", where, shown(Json(token)),
                                 it->second, id));
    }
    highest = std::max(highest, id);
    return {};
  };
  if (unigram == nullptr) {
    for (const auto& [token, id] : vocab->items()) COLDPRESS_RETURN_IF_ERROR(add(token, id));
  } else {
    for (std::size_t id = 0; id < unigram->pieces.size(); ++id) {
      COLDPRESS_RETURN_IF_ERROR(add(unigram->pieces[id], Json(id)));
    }
  }
  const Json* added = member(folder.tokenizer, "added_tokens");
  if (added != nullptr && !added->is_array()) {
    return corrupt(where + ": added_tokens is not an array");
  }
  if (added != nullptr) {
    for (const Json& entry : *added) {
      const Json* id = member(entry, "id");
      const std::string content = text(entry, "content");
      if (id == nullptr || content.empty()) {
        return corrupt(
            fmt::format("{}: added token {} lacks an id or its content", where, shown(entry)));
      }
      COLDPRESS_RETURN_IF_ERROR(add(content, *id));
    }
  }

  const std::optional<int64_t> rows = integer(folder.config, "vocab_size");
  int64_t size = highest + 1;
  if (rows && *rows > size) {
    if (*rows > kMaxTokens) {
      return corrupt(
          fmt::format("{}: config.json's vocab_size {} is not believable", where, *rows));
    }
    size = *rows;
  }
  if (size - static_cast<int64_t>(out.ids.size()) > kMaxUnused) {
    return corrupt(fmt::format("{}: {} tokens for {} ids", where, out.ids.size(), size));
  }
  out.names.resize(static_cast<std::size_t>(size));
  out.types.assign(static_cast<std::size_t>(size), static_cast<int32_t>(TokenType::kUnused));
  const std::string unknown = unknown_token(model, unigram);
  for (const auto& [token, id] : out.ids) {
    std::string& name = out.names[static_cast<std::size_t>(id)];
    if (!name.empty()) {
      return corrupt(fmt::format("{}: id {} belongs to both {} and {}", where, id,
                                 shown(Json(name)), shown(Json(token))));
    }
    name = token;
    TokenType type = TokenType::kNormal;
    if (sentencepiece && unigram == nullptr && is_byte_token(token)) type = TokenType::kByte;
    if (sentencepiece && token == unknown) type = TokenType::kUnknown;
    out.types[static_cast<std::size_t>(id)] = static_cast<int32_t>(type);
  }
  if (added != nullptr) {
    for (const Json& entry : *added) {
      const auto id = static_cast<std::size_t>(out.ids.at(text(entry, "content")));
      if (out.types[id] == static_cast<int32_t>(TokenType::kUnknown)) continue;
      const bool special = flag(entry, "special").value_or(false);
      out.types[id] = static_cast<int32_t>(special ? TokenType::kControl : TokenType::kUserDefined);
      if (special || !sentencepiece) continue;
      // Added tokens are found in the text as written, before spaces become marks.
      std::string spelled = marks_to_spaces(out.names[id]);
      if (!out.ids.contains(spelled)) out.names[id] = std::move(spelled);
    }
  }
  for (std::size_t id = 0; id < out.names.size(); ++id) {
    if (!out.names[id].empty()) continue;
    std::string name = fmt::format("[PAD{}]", id);
    while (out.ids.contains(name)) name += '_';
    out.names[id] = std::move(name);
  }
  return out;
}

struct Merge {
  std::string left, right;
};

Result<std::vector<Merge>> read_merges(const Folder& folder, const Tokens& tokens) {
  const std::string& where = folder.where;
  const Json* list = member(folder.tokenizer.at("model"), "merges");
  if (list == nullptr || !list->is_array()) {
    return corrupt(where + ": model.merges is not an array");
  }
  std::vector<Merge> merges;
  merges.reserve(list->size());
  for (const Json& entry : *list) {
    Merge m;
    if (entry.is_string()) {
      const auto& s = entry.get_ref<const std::string&>();
      const std::size_t space = s.find(' ', 1);
      if (space != std::string::npos && s.find(' ', space + 1) == std::string::npos) {
        m = {s.substr(0, space), s.substr(space + 1)};
      }
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
               entry[1].is_string()) {
      m = {entry[0].get<std::string>(), entry[1].get<std::string>()};
    }
    if (m.left.empty() || m.right.empty()) {
      return corrupt(fmt::format("{}: merge {} is not a pair of tokens: {}", where, merges.size(),
                                 shown(entry)));
    }
    if (!tokens.ids.contains(m.left) || !tokens.ids.contains(m.right) ||
        !tokens.ids.contains(m.left + m.right)) {
      return corrupt(
          fmt::format("{}: merge {} joins or makes a token that is not in the "
                      "vocabulary: {}",
                      where, merges.size(), shown(entry)));
    }
    merges.push_back(std::move(m));
  }
  return merges;
}

// What a SentencePiece-style tokenizer does with spaces; an error for what llama.cpp cannot do.
Result<bool> reads_space_prefix(const Folder& folder) {
  bool prefix = false;
  const auto refuse = [&](std::string_view what, const Json& node) {
    return unsupported(fmt::format(
        "{}: the {} {} is not one that llama.cpp knows (known with byte fallback: Prepend and "
        "Replace of spaces by U+2581; Metaspace without split; Split at spaces)",
        folder.where, what, shown(node)));
  };
  for (const Json* part : parts_of(member(folder.tokenizer, "normalizer"), "normalizers")) {
    const std::string type = text(*part, "type");
    if (type == "Prepend" && text(*part, "prepend") == kSpaceMark) {
      prefix = true;
    } else if (type == "Replace") {
      const Json* pattern = member(*part, "pattern");
      if (pattern == nullptr || text(*pattern, "String") != " " ||
          text(*part, "content") != kSpaceMark) {
        return refuse("normalizer", *part);
      }
    } else {
      return refuse("normalizer", *part);
    }
  }
  for (const Json* part : parts_of(member(folder.tokenizer, "pre_tokenizer"), "pretokenizers")) {
    const std::string type = text(*part, "type");
    if (type == "Metaspace" && text(*part, "replacement") == kSpaceMark &&
        !flag(*part, "split").value_or(true)) {
      const std::string scheme = text(*part, "prepend_scheme");
      prefix = prefix || scheme == "always" || scheme == "first";
      continue;
    }
    const Json* pattern = type == "Split" ? member(*part, "pattern") : nullptr;
    // Gemma: no spaces are left after its normalizer, so that this splits nothing.
    if (pattern != nullptr && text(*pattern, "String") == " ") continue;
    return refuse("pre-tokenizer", *part);
  }
  return prefix;
}

Status check_normalizer_of_bytes(const Folder& folder) {
  for (const Json* part : parts_of(member(folder.tokenizer, "normalizer"), "normalizers")) {
    if (text(*part, "type") == "NFC") continue;
    return unsupported(
        fmt::format("{}: the normalizer {} is not one that llama.cpp knows for byte-level BPE "
                    "(known: none, NFC)",
                    folder.where, shown(*part)));
  }
  return {};
}

// A special token's id by its text in tokenizer_config.json, else by config.json's number.
Result<std::optional<int32_t>> special_id(const Folder& folder, const Tokens& tokens,
                                          const std::string& name) {
  const Json* node = member(folder.tokenizer_config, name);
  const std::string content = node == nullptr     ? ""
                              : node->is_string() ? node->get<std::string>()
                                                  : text(*node, "content");
  if (!content.empty()) {
    const auto it = tokens.ids.find(content);
    if (it == tokens.ids.end()) {
      return corrupt(fmt::format("{}: tokenizer_config.json's {} {} is not in the vocabulary",
                                 folder.where, name, shown(Json(content))));
    }
    return std::optional<int32_t>(it->second);
  }
  const Json* id = member(folder.config, name + "_id");
  if (id != nullptr && id->is_array() && !id->empty()) id = &id->front();
  if (id == nullptr || !id->is_number_integer() || *id < 0 ||
      *id >= static_cast<int64_t>(tokens.names.size())) {
    return std::optional<int32_t>();
  }
  return std::optional<int32_t>(id->get<int32_t>());
}

// The special token at one end of the post-processor's template for a single text; empty if none.
std::string template_token(const Json& tokenizer, bool first) {
  for (const Json* part : parts_of(member(tokenizer, "post_processor"), "processors")) {
    if (text(*part, "type") != "TemplateProcessing") continue;
    const Json* single = member(*part, "single");
    if (single == nullptr || !single->is_array() || single->size() < 2) continue;
    const Json* end = member(first ? single->front() : single->back(), "SpecialToken");
    if (end != nullptr) return text(*end, "id");
  }
  return {};
}

// -rank of the first merge that makes a token, so that llama.cpp's SentencePiece, which joins the
// pair with the highest score first, follows the merges' order.
std::vector<float> scores_from_merges(const Tokens& tokens, const std::vector<Merge>& merges) {
  std::vector<float> scores(tokens.names.size(), -static_cast<float>(merges.size() + 1));
  std::vector<bool> ranked(tokens.names.size(), false);
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto id = static_cast<std::size_t>(tokens.ids.at(merges[rank].left + merges[rank].right));
    if (ranked[id]) continue;
    ranked[id] = true;
    scores[id] = -static_cast<float>(rank + 1);
  }
  return scores;
}

// The keys that say how text becomes tokens: the model, its pieces and their order.
Status put_byte_level(const std::string& pre, const std::vector<Merge>& merges, Tokens& tokens,
                      const std::string& where, GgufMetadata& out) {
  std::vector<std::string> joined;
  joined.reserve(merges.size());
  for (const Merge& m : merges) {
    if (m.left.find(' ') != std::string::npos || m.right.find(' ') != std::string::npos) {
      return corrupt(
          fmt::format("{}: merge {} holds a bare space, which byte-level BPE writes as "
                      "U+0120",
                      where, joined.size()));
    }
    joined.push_back(m.left + ' ' + m.right);
  }
  out.emplace_back("tokenizer.ggml.model", GgufValue::string("gpt2"));
  out.emplace_back("tokenizer.ggml.pre", GgufValue::string(pre));
  out.emplace_back("tokenizer.ggml.tokens", GgufValue::strings(tokens.names));
  out.emplace_back("tokenizer.ggml.token_type", GgufValue::i32s(tokens.types));
  out.emplace_back("tokenizer.ggml.merges", GgufValue::strings(std::move(joined)));
  return {};
}

void put_sentencepiece(const std::vector<float>& scores, bool space_prefix, Tokens& tokens,
                       GgufMetadata& out) {
  out.emplace_back("tokenizer.ggml.model", GgufValue::string("llama"));
  out.emplace_back("tokenizer.ggml.pre", GgufValue::string("default"));
  out.emplace_back("tokenizer.ggml.tokens", GgufValue::strings(tokens.names));
  out.emplace_back("tokenizer.ggml.scores", GgufValue::f32s(scores));
  out.emplace_back("tokenizer.ggml.token_type", GgufValue::i32s(tokens.types));
  out.emplace_back("tokenizer.ggml.add_space_prefix", GgufValue::boolean(space_prefix));
}

void put_unigram(const Unigram& unigram, Tokens& tokens, GgufMetadata& out) {
  constexpr float kNever = -10000.0F;  // of ids without a piece, whose names text may hold
  std::vector<float> scores = unigram.scores;
  scores.resize(tokens.names.size(), kNever);
  out.emplace_back("tokenizer.ggml.model", GgufValue::string("t5"));
  out.emplace_back("tokenizer.ggml.pre", GgufValue::string("default"));
  out.emplace_back("tokenizer.ggml.tokens", GgufValue::strings(tokens.names));
  out.emplace_back("tokenizer.ggml.scores", GgufValue::f32s(scores));
  out.emplace_back("tokenizer.ggml.token_type", GgufValue::i32s(tokens.types));
  if (!unigram.charsmap.empty()) {
    out.emplace_back("tokenizer.ggml.precompiled_charsmap", GgufValue::u8s(unigram.charsmap));
  }
  out.emplace_back("tokenizer.ggml.add_space_prefix", GgufValue::boolean(unigram.space_prefix));
  out.emplace_back("tokenizer.ggml.remove_extra_whitespaces",
                   GgufValue::boolean(unigram.merges_spaces));
}

enum class Kind { kByteLevel, kSentencePiece, kUnigram };

Result<Kind> kind_of(const Json& model, const std::string& where) {
  const std::string type = text(model, "type");
  const bool bytes = flag(model, "byte_fallback").value_or(false);
  if (type == "Unigram") return Kind::kUnigram;
  // Files of old versions leave the type out; only BPE has merges.
  if (type != "BPE" && !(type.empty() && model.contains("merges"))) {
    return unsupported(
        fmt::format("{}: tokenizer model \"{}\" is not supported (known: BPE, byte-level or with "
                    "byte fallback, and Unigram)",
                    where, type));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!text(model, key).empty()) {
      return unsupported(fmt::format("{}: model.{} is not supported", where, key));
    }
  }
  return bytes ? Kind::kSentencePiece : Kind::kByteLevel;
}

// Which special tokens there are, and which are added to a text.
Status put_special_tokens(const Folder& folder, const Tokens& tokens, Kind kind,
                          const std::string& unknown, GgufMetadata& out) {
  COLDPRESS_ASSIGN_OR_RETURN(std::optional<int32_t> bos, special_id(folder, tokens, "bos_token"));
  COLDPRESS_ASSIGN_OR_RETURN(std::optional<int32_t> eos, special_id(folder, tokens, "eos_token"));
  COLDPRESS_ASSIGN_OR_RETURN(const std::optional<int32_t> pad,
                             special_id(folder, tokens, "pad_token"));
  const std::string first = template_token(folder.tokenizer, true);
  if (!bos && tokens.ids.contains(first)) bos = tokens.ids.at(first);
  // transformers: the configuration's word, else the template's; Llama's and Gemma's classes add
  // it.
  const bool silent = member(folder.tokenizer, "post_processor") == nullptr;
  const bool add_bos = flag(folder.tokenizer_config, "add_bos_token")
                           .value_or(!first.empty() || (kind == Kind::kSentencePiece && silent));
  const auto put_id = [&](const char* key, std::optional<int32_t> id) {
    if (id) out.emplace_back(key, GgufValue::u32(static_cast<uint32_t>(*id)));
  };
  put_id("tokenizer.ggml.bos_token_id", bos);
  put_id("tokenizer.ggml.eos_token_id", eos);
  if (const auto it = tokens.ids.find(unknown); it != tokens.ids.end()) {
    put_id("tokenizer.ggml.unknown_token_id", it->second);
  }
  put_id("tokenizer.ggml.padding_token_id", pad);
  out.emplace_back("tokenizer.ggml.add_bos_token", GgufValue::boolean(add_bos && bos.has_value()));
  std::optional<bool> add_eos = flag(folder.tokenizer_config, "add_eos_token");
  // llama.cpp adds one to unigrams unless told otherwise.
  if (kind == Kind::kUnigram && !add_eos)
    add_eos = !template_token(folder.tokenizer, false).empty();
  if (add_eos) out.emplace_back("tokenizer.ggml.add_eos_token", GgufValue::boolean(*add_eos));
  return {};
}

}  // namespace

Result<GgufMetadata> hf_tokenizer_metadata(const std::filesystem::path& path,
                                           const std::string& chosen_pre) {
  COLDPRESS_ASSIGN_OR_RETURN(const Folder folder, read_folder(path));
  const std::string& where = folder.where;
  const Json* model = member(folder.tokenizer, "model");
  if (model == nullptr || !model->is_object()) return corrupt(where + ": no \"model\" object");
  COLDPRESS_ASSIGN_OR_RETURN(const Kind kind, kind_of(*model, where));
  std::string pre = chosen_pre;
  bool space_prefix = false;
  std::optional<Unigram> unigram;
  if (kind == Kind::kUnigram) {
    COLDPRESS_ASSIGN_OR_RETURN(unigram, read_unigram(folder.tokenizer, where));
  } else if (kind == Kind::kSentencePiece) {
    COLDPRESS_ASSIGN_OR_RETURN(space_prefix, reads_space_prefix(folder));
  } else {
    COLDPRESS_RETURN_IF_ERROR(check_normalizer_of_bytes(folder));
    const Json* node = member(folder.tokenizer, "pre_tokenizer");
    if (!pre.empty()) {
      COLDPRESS_RETURN_IF_ERROR(check_pre_tokenizer_name(pre, where));
    } else {
      COLDPRESS_ASSIGN_OR_RETURN(
          pre, recognise_pre_tokenizer(node == nullptr ? Json() : *node,
                                       flag(*model, "ignore_merges").value_or(false), where));
    }
  }
  const Unigram* pieces = unigram ? &*unigram : nullptr;
  COLDPRESS_ASSIGN_OR_RETURN(Tokens tokens, read_tokens(folder, kind != Kind::kByteLevel, pieces));
  GgufMetadata out;
  if (kind == Kind::kUnigram) {
    put_unigram(*unigram, tokens, out);
  } else {
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<Merge> merges, read_merges(folder, tokens));
    if (kind == Kind::kSentencePiece) {
      put_sentencepiece(scores_from_merges(tokens, merges), space_prefix, tokens, out);
    } else {
      COLDPRESS_RETURN_IF_ERROR(put_byte_level(pre, merges, tokens, where, out));
    }
  }
  COLDPRESS_RETURN_IF_ERROR(
      put_special_tokens(folder, tokens, kind, unknown_token(*model, pieces), out));
  if (!folder.chat_template.empty()) {
    out.emplace_back("tokenizer.chat_template", GgufValue::string(folder.chat_template));
  }
  // A compiled normaliser is a table that libllama walks.
  if (unigram) COLDPRESS_RETURN_IF_ERROR(vocab_from_metadata(out, where).status());
  return out;
}

}  // namespace coldpress
