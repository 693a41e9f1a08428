#include "tokenizer/hf_unigram.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "io/json.h"
#include "tokenizer/json_members.h"

namespace coldpress {
namespace {

// The value of a digit of base64; 64 for everything else.
uint32_t base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<uint32_t>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<uint32_t>(c - 'a') + 26;
  if (c >= '0' && c <= '9') return static_cast<uint32_t>(c - '0') + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : 64;
}

std::optional<std::vector<uint8_t>> base64_bytes(std::string_view digits) {
  while (digits.ends_with('=')) digits.remove_suffix(1);
  if (digits.size() % 4 == 1) return std::nullopt;
  std::vector<uint8_t> bytes;
  bytes.reserve(digits.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : digits) {
    const uint32_t digit = base64_digit(c);
    if (digit == 64) return std::nullopt;
    bits = (bits << 6) | digit;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<uint8_t>(bits >> count));
  }
  return bytes;
}

Status refuse(const std::string& where, std::string_view what, const Json& node) {
  return unsupported(fmt::format(
      "{}: the {} {} is not one that llama.cpp knows for unigram (known: Precompiled, Strip at the "
      "right, Replace of runs of spaces; Metaspace, alone or after WhitespaceSplit)",
      where, what, shown(node)));
}

// Whether a piece goes on after the end of a word.
bool spans_words(std::string_view piece) {
  const std::size_t first = piece.find_first_not_of(kSpaceMark);
  return first != std::string_view::npos && piece.find(kSpaceMark, first) != std::string_view::npos;
}

Status read_pieces(const Json& model, const std::string& where, Unigram& out) {
  const Json* vocab = member(model, "vocab");
  if (vocab == nullptr || !vocab->is_array() || vocab->empty()) {
    return corrupt(where + ": model.vocab is not an array of pieces and scores");
  }
  std::unordered_set<std::string> seen;
  for (const Json& entry : *vocab) {
    const bool pair =
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    const double score = pair ? entry[1].get<double>() : NAN;
    if (!pair || entry[0].get_ref<const std::string&>().empty() || !std::isfinite(score)) {
      return corrupt(fmt::format("{}: entry {} of model.vocab is not a piece and a score: {}",
                                 where, out.pieces.size(), shown(entry)));
    }
    out.pieces.push_back(entry[0].get<std::string>());
    out.scores.push_back(static_cast<float>(score));
    if (!seen.insert(out.pieces.back()).second) {
      return corrupt(
          fmt::format("{}: the piece {} is in model.vocab twice", where, shown(entry[0])));
    }
  }
  const Json* unk = member(model, "unk_id");
  if (unk == nullptr || !unk->is_number_integer() || *unk < 0 ||
      *unk >= static_cast<int64_t>(out.pieces.size())) {
    return corrupt(where + ": model.unk_id is not the id of a piece");
  }
  out.unk = unk->get<int32_t>();
  if (!seen.contains(std::string(kSpaceMark))) {
    return unsupported(where +
                       ": the vocabulary has no piece for a space alone (U+2581), without which "
                       "llama.cpp joins unknown words");
  }
  return {};
}

Status read_normalizer(const Json& tokenizer, const std::string& where, Unigram& out) {
  for (const Json* part : parts_of(member(tokenizer, "normalizer"), "normalizers")) {
    const std::string type = text(*part, "type");
    if (type == "Precompiled" && out.charsmap.empty() && !out.merges_spaces) {
      const auto bytes = base64_bytes(text(*part, "precompiled_charsmap"));
      if (!bytes || bytes->empty()) {
        return corrupt(where + ": normalizer.precompiled_charsmap is not base64");
      }
      out.charsmap = *bytes;
      continue;
    }
    if (type == "Strip" && !flag(*part, "strip_left").value_or(true) &&
        flag(*part, "strip_right").value_or(false)) {
      continue;
    }
    const Json* pattern = type == "Replace" ? member(*part, "pattern") : nullptr;
    const std::string content = text(*part, "content");
    if (pattern != nullptr && text(*pattern, "Regex") == " {2,}" &&
        (content == " " || content == kSpaceMark)) {
      out.merges_spaces = true;
      continue;
    }
    return refuse(where, "normalizer", *part);
  }
  return {};
}

Status read_spaces(const Json& tokenizer, const std::string& where, Unigram& out) {
  const Json* node = member(tokenizer, "pre_tokenizer");
  const auto parts = parts_of(node, "pretokenizers");
  if (parts.empty() || parts.size() > 2) {
    return refuse(where, "pre-tokenizer", node == nullptr ? Json() : *node);
  }
  if (parts.size() == 2) {
    if (text(*parts[0], "type") != "WhitespaceSplit") return refuse(where, "pre-tokenizer", *node);
    if (out.charsmap.empty()) {
      return unsupported(where +
                         ": WhitespaceSplit drops line ends, which llama.cpp's unigram does only "
                         "with a Precompiled normalizer that makes them spaces");
    }
    out.merges_spaces = true;
  }
  const Json& metaspace = *parts.back();
  if (text(metaspace, "type") != "Metaspace" || text(metaspace, "replacement") != kSpaceMark) {
    return refuse(where, "pre-tokenizer", *node);
  }
  const std::string scheme = text(metaspace, "prepend_scheme");
  out.space_prefix =
      scheme == "always" || (scheme.empty() && flag(metaspace, "add_prefix_space").value_or(true));
  if (scheme == "first" || out.space_prefix != out.merges_spaces) {
    return unsupported(fmt::format(
        "{}: with prepend_scheme \"{}\" a unigram that {} runs of spaces has no twin in llama.cpp",
        where, scheme, out.merges_spaces ? "merges" : "keeps"));
  }
  if (!flag(metaspace, "split").value_or(true)) return {};
  for (const std::string& piece : out.pieces) {
    if (!spans_words(piece)) continue;
    return unsupported(fmt::format(
        "{}: the text is split at spaces, but the piece {} spans two words, which llama.cpp would "
        "use",
        where, shown(Json(piece))));
  }
  return {};
}

}  // namespace

Result<Unigram> read_unigram(const Json& tokenizer, const std::string& where) {
  const Json& model = tokenizer.at("model");
  if (flag(model, "byte_fallback").value_or(false)) {
    return unsupported(where +
                       ": a unigram model with byte fallback is not supported, because llama.cpp "
                       "has none");
  }
  Unigram out;
  COLDPRESS_RETURN_IF_ERROR(read_pieces(model, where, out));
  COLDPRESS_RETURN_IF_ERROR(read_normalizer(tokenizer, where, out));
  COLDPRESS_RETURN_IF_ERROR(read_spaces(tokenizer, where, out));
  return out;
}

}  // namespace coldpress
