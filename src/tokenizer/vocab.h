// A tokenizer's vocabulary as GGUF metadata states it (`tokenizer.ggml.*`), checked: everything
// libllama or an exporter relies on holds here, whatever the file said.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "io/gguf.h"

namespace coldpress {

// A larger vocabulary is refused: more tokens than any published model has (Gemma: 262 144), and
// far from int32's end.
inline constexpr int64_t kMaxTokens = int64_t{1} << 22;

using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

// GGUF's token types.
enum class TokenType : int32_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // special: found in text only where the caller asks for it
  kUserDefined = 4,  // added: always found in text, before anything else
  kUnused = 5,
  kByte = 6,  // "<0x41>"
};

struct Vocab {
  std::string
      model;  // "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "t5" (unigram), "gemma4"
  std::string pre;                  // pre-tokenizer's name; empty if the file has none
  std::string model_name;           // general.name; libllama knows some models' quirks by it
  std::vector<std::string> tokens;  // unique, none empty
  std::vector<TokenType> types;     // one per token
  std::vector<float> scores;        // one per token for "llama" and "t5", else empty
  std::vector<std::string> merges;  // "left right", by rank; empty where there are scores
  std::vector<uint8_t> charsmap;    // "t5": SentencePiece's compiled normaliser; may be empty
  std::optional<int32_t> bos, eos, unk, pad;  // in range
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  std::string chat_template;  // may be empty
};

// Reads and checks the tokenizer keys; every other key is ignored. `where` names the source; `pre`,
// if not empty, takes the place of the file's pre-tokenizer. Byte-level BPE whose pre-tokenizer is
// not said or not known is an error.
Result<Vocab> vocab_from_metadata(const GgufMetadata& metadata, const std::string& where,
                                  const std::string& pre = {});

// Code points of `token` that are not in byte-level BPE's alphabet of 256 printable characters.
int64_t outside_byte_alphabet(std::string_view token);
// True for "<0x00>" ... "<0xFF>".
bool is_byte_token(std::string_view token);

}  // namespace coldpress
