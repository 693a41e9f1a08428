#include "tokenizer/vocab.h"

#include <fmt/format.h>

#include <cctype>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "tokenizer/pre_tokenizer.h"

namespace coldpress {
namespace {

constexpr std::size_t kMaxTokenBytes = std::size_t{1} << 16;
// libllama spells a token's characters outside the byte alphabet as "[UNK_BYTE_0x...<token>]", one
// copy of the token each; the sum of these copies is bounded.
constexpr uint64_t kMaxEscapeBytes = uint64_t{1} << 26;

constexpr std::size_t kMaxCharsmapBytes = std::size_t{1} << 24;  // T5's and XLM-R's: 240 kB
// libllama keeps a unigram vocabulary as a trie of one node per byte.
constexpr uint64_t kMaxTrieBytes = uint64_t{1} << 24;

class Reader {
 public:
  Reader(const GgufMetadata& metadata, const std::string& where)
      : metadata_(metadata), where_(where) {}

  const GgufValue* find(std::string_view key) const {
    for (const auto& [name, value] : metadata_) {
      if (name == key) return &value;
    }
    return nullptr;
  }
  Status wrong(std::string_view key, std::string_view what) const {
    return corrupt(fmt::format("{}: metadata key {} {}", where_, key, what));
  }
  // Empty where the key is absent.
  Result<std::string> text(std::string_view key) const {
    const GgufValue* v = find(key);
    if (v == nullptr) return std::string();
    if (auto s = v->as_string()) return std::move(*s);
    return wrong(key, "is not a string");
  }
  Result<std::optional<bool>> flag(std::string_view key) const {
    const GgufValue* v = find(key);
    if (v == nullptr) return std::optional<bool>();
    if (v->type != GgufType::kBool) return wrong(key, "is not a bool");
    return std::optional<bool>(v->as_int().value_or(0) != 0);
  }
  Result<std::optional<int32_t>> token_id(std::string_view key, std::size_t tokens) const {
    const GgufValue* v = find(key);
    if (v == nullptr) return std::optional<int32_t>();
    const auto id = v->as_int();
    if (!id) return wrong(key, "is not an integer");
    if (*id < 0 || static_cast<uint64_t>(*id) >= tokens) {
      return wrong(key, fmt::format("is {}, but the vocabulary has {} tokens", *id, tokens));
    }
    return std::optional<int32_t>(static_cast<int32_t>(*id));
  }

 private:
  const GgufMetadata& metadata_;
  const std::string& where_;
};

Status read_tokens(const Reader& in, const std::string& where, Vocab& v) {
  constexpr std::string_view kKey = "tokenizer.ggml.tokens";
  const GgufValue* value = in.find(kKey);
  if (value == nullptr) return corrupt(where + ": no vocabulary (tokenizer.ggml.tokens)");
  auto tokens = value->as_strings();
  if (!tokens) return in.wrong(kKey, "is not an array of strings");
  if (tokens->empty()) return in.wrong(kKey, "is empty");
  if (std::ssize(*tokens) > kMaxTokens) {
    return in.wrong(kKey,
                    fmt::format("has {} entries; the limit is {}", tokens->size(), kMaxTokens));
  }
  v.tokens = std::move(*tokens);
  std::unordered_set<std::string_view> seen;
  seen.reserve(v.tokens.size());
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    std::string& token = v.tokens[i];
    if (const auto nul = token.find('\0'); nul != std::string::npos)
      token.resize(nul);                                      // as C sees
    if (token.empty()) token = fmt::format("[EMPTY_{}]", i);  // the name libllama gives it
    if (token.size() > kMaxTokenBytes) {
      return in.wrong(kKey, fmt::format("holds a token of {} bytes (id {})", token.size(), i));
    }
    if (!seen.insert(token).second) {
      return in.wrong(kKey, fmt::format("holds the token of id {} twice", i));
    }
  }
  return {};
}

Status read_types(const Reader& in, Vocab& v) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  v.types.assign(v.tokens.size(), TokenType::kNormal);
  if (const GgufValue* value = in.find(kKey)) {
    const auto numbers = value->as_numbers();
    if (!numbers) return in.wrong(kKey, "is not an array of integers");
    if (numbers->size() != v.tokens.size()) {
      return in.wrong(
          kKey, fmt::format("has {} entries for {} tokens", numbers->size(), v.tokens.size()));
    }
    for (std::size_t i = 0; i < numbers->size(); ++i) {
      const double t = (*numbers)[i];
      if (!(t >= 0 && t <= 6) || t != std::floor(t)) {
        return in.wrong(kKey, fmt::format("gives token {} the unknown type {}", i, t));
      }
      v.types[i] = static_cast<TokenType>(static_cast<int32_t>(t));
    }
  }
  uint64_t escape = 0;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.types[i] == TokenType::kByte && !is_byte_token(v.tokens[i])) {
      return in.wrong(kKey, fmt::format("makes token {} a byte, but it is not written <0xNN>", i));
    }
    if (v.model == "gpt2" && v.types[i] == TokenType::kNormal) {
      escape += static_cast<uint64_t>(outside_byte_alphabet(v.tokens[i])) * v.tokens[i].size();
      if (escape > kMaxEscapeBytes) {
        return in.wrong("tokenizer.ggml.tokens", "is not a byte-level BPE vocabulary");
      }
    }
  }
  return {};
}

Status read_scores(const Reader& in, Vocab& v) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  const GgufValue* value = in.find(kKey);
  if (value == nullptr) return in.wrong(kKey, "is missing");
  const auto numbers = value->as_numbers();
  if (!numbers) return in.wrong(kKey, "is not an array of numbers");
  if (numbers->size() != v.tokens.size()) {
    return in.wrong(kKey,
                    fmt::format("has {} entries for {} tokens", numbers->size(), v.tokens.size()));
  }
  v.scores.reserve(numbers->size());
  for (std::size_t i = 0; i < numbers->size(); ++i) {
    if (std::isnan((*numbers)[i])) return in.wrong(kKey, fmt::format("is NaN for token {}", i));
    v.scores.push_back(static_cast<float>((*numbers)[i]));
  }
  return {};
}

// A length, an array of 32-bit entries of that many bytes, then texts that end in NUL.
Status read_charsmap(const Reader& in, Vocab& v) {
  constexpr std::string_view kKey = "tokenizer.ggml.precompiled_charsmap";
  const GgufValue* value = in.find(kKey);
  if (value == nullptr) return {};
  const auto numbers = value->as_numbers();
  if (!numbers) return in.wrong(kKey, "is not an array of bytes");
  if (numbers->size() > kMaxCharsmapBytes) {
    return in.wrong(kKey, fmt::format("has {} entries", numbers->size()));
  }
  for (const double n : *numbers) {
    if (!(n >= -128 && n <= 255)) return in.wrong(kKey, "is not an array of bytes");
    v.charsmap.push_back(static_cast<uint8_t>(static_cast<int>(n)));
  }
  if (v.charsmap.empty()) return {};
  if (v.charsmap.size() < 4) return in.wrong(kKey, "is too short");
  uint64_t array_bytes = 0;
  for (int i = 3; i >= 0; --i)
    array_bytes = array_bytes << 8 | v.charsmap[static_cast<std::size_t>(i)];
  if (array_bytes % 4 != 0 || array_bytes + 4 >= v.charsmap.size()) {
    return in.wrong(kKey, "is damaged: its array is longer than itself");
  }
  return {};
}

Status check_unigram(const Reader& in, const Vocab& v) {
  uint64_t bytes = 0;
  for (const std::string& token : v.tokens) bytes += token.size();
  if (bytes > kMaxTrieBytes) {
    return in.wrong("tokenizer.ggml.tokens", fmt::format("holds {} bytes of tokens", bytes));
  }
  if (!v.unk) return in.wrong("tokenizer.ggml.unknown_token_id", "is missing");
  return {};
}

Status read_merges(const Reader& in, Vocab& v) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  const GgufValue* value = in.find(kKey);
  if (value == nullptr) return in.wrong(kKey, "is missing");
  auto merges = value->as_strings();
  if (!merges) return in.wrong(kKey, "is not an array of strings");
  if (std::ssize(*merges) > 4 * kMaxTokens) {
    return in.wrong(kKey, fmt::format("has {} entries", merges->size()));
  }
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const std::string& m = (*merges)[i];
    const std::size_t space = m.find(' ', 1);
    if (space == std::string::npos || space + 1 == m.size()) {
      return in.wrong(kKey, fmt::format("holds a merge (rank {}) that is not two tokens", i));
    }
  }
  v.merges = std::move(*merges);
  return {};
}

}  // namespace

int64_t outside_byte_alphabet(std::string_view token) {
  int64_t outside = 0;
  for (std::size_t i = 0; i < token.size();) {
    const auto lead = static_cast<unsigned char>(token[i]);
    if (lead < 0x80) {
      if (lead < 0x21 || lead == 0x7f) ++outside;
      i += 1;
      continue;
    }
    // The other members are U+00A1..U+0143 but for U+00AD: two bytes each.
    const bool pair = lead >= 0xc2 && lead <= 0xc5 && i + 1 < token.size();
    const auto low = pair ? static_cast<unsigned char>(token[i + 1]) : 0;
    const uint32_t code = ((lead & 0x1fu) << 6) | (low & 0x3fu);
    if (pair && (low & 0xc0) == 0x80 && code >= 0xa1 && code <= 0x143 && code != 0xad) {
      i += 2;
      continue;
    }
    ++outside;
    i += 1;
    while (i < token.size() && (static_cast<unsigned char>(token[i]) & 0xc0) == 0x80) ++i;
  }
  return outside;
}

bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.substr(0, 3) == "<0x" && token[5] == '>' &&
         std::isxdigit(static_cast<unsigned char>(token[3])) != 0 &&
         std::isxdigit(static_cast<unsigned char>(token[4])) != 0;
}

Result<Vocab> vocab_from_metadata(const GgufMetadata& metadata, const std::string& where,
                                  const std::string& pre) {
  const Reader in(metadata, where);
  Vocab v;
  COLDPRESS_ASSIGN_OR_RETURN(v.model, in.text("tokenizer.ggml.model"));
  COLDPRESS_ASSIGN_OR_RETURN(v.pre, in.text("tokenizer.ggml.pre"));
  COLDPRESS_ASSIGN_OR_RETURN(v.model_name, in.text("general.name"));
  COLDPRESS_ASSIGN_OR_RETURN(v.chat_template, in.text("tokenizer.chat_template"));
  if (v.model.empty()) {
    return unsupported(where + ": the file has no tokenizer (tokenizer.ggml.model)");
  }
  const bool has_scores = v.model == "llama" || v.model == "t5";
  if (v.model != "gpt2" && v.model != "gemma4" && !has_scores) {
    return unsupported(
        fmt::format("{}: tokenizer model \"{}\" is not supported (known: gpt2, llama, t5, gemma4)",
                    where, v.model));
  }
  if (v.model == "gpt2") {
    if (!pre.empty()) v.pre = pre;
    COLDPRESS_RETURN_IF_ERROR(check_pre_tokenizer_name(v.pre, where));
  }
  COLDPRESS_RETURN_IF_ERROR(read_tokens(in, where, v));
  COLDPRESS_RETURN_IF_ERROR(read_types(in, v));
  COLDPRESS_RETURN_IF_ERROR(has_scores ? read_scores(in, v) : read_merges(in, v));
  const std::size_t n = v.tokens.size();
  COLDPRESS_ASSIGN_OR_RETURN(v.bos, in.token_id("tokenizer.ggml.bos_token_id", n));
  COLDPRESS_ASSIGN_OR_RETURN(v.eos, in.token_id("tokenizer.ggml.eos_token_id", n));
  COLDPRESS_ASSIGN_OR_RETURN(v.unk, in.token_id("tokenizer.ggml.unknown_token_id", n));
  COLDPRESS_ASSIGN_OR_RETURN(v.pad, in.token_id("tokenizer.ggml.padding_token_id", n));
  COLDPRESS_ASSIGN_OR_RETURN(v.add_bos, in.flag("tokenizer.ggml.add_bos_token"));
  COLDPRESS_ASSIGN_OR_RETURN(v.add_eos, in.flag("tokenizer.ggml.add_eos_token"));
  COLDPRESS_ASSIGN_OR_RETURN(v.add_space_prefix, in.flag("tokenizer.ggml.add_space_prefix"));
  COLDPRESS_ASSIGN_OR_RETURN(v.remove_extra_whitespaces,
                             in.flag("tokenizer.ggml.remove_extra_whitespaces"));
  if (v.model == "t5") {
    COLDPRESS_RETURN_IF_ERROR(read_charsmap(in, v));
    COLDPRESS_RETURN_IF_ERROR(check_unigram(in, v));
  }
  return v;
}

}  // namespace coldpress
