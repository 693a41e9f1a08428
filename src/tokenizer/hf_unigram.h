// The unigram model of a tokenizer.json (T5, XLM-R, and other SentencePiece unigrams).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// U+2581, which stands for a space in SentencePiece's tokens.
inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";

struct Unigram {
  std::vector<std::string> pieces;  // by id
  std::vector<float> scores;        // one each
  int32_t unk = 0;
  std::vector<uint8_t> charsmap;  // SentencePiece's compiled normaliser; may be empty
  bool merges_spaces = false;     // runs become one, those at the ends go
  bool space_prefix = false;      // one is put before the text
};

// `tokenizer`: the file, whose "model" is of type Unigram. What llama.cpp's unigram does otherwise
// is refused, naming it: byte fallback, other normalisers than a compiled one, and spaces that are
// neither all kept nor all merged.
//
// Differences that remain, because SentencePiece itself, whose behaviour llama.cpp has, does so: a
// space at the end of the text goes, where the file does not say so and merges spaces; and a
// compiled normaliser rewrites the longest match, not one grapheme at a time.
Result<Unigram> read_unigram(const Json& tokenizer, const std::string& where);

}  // namespace coldpress
