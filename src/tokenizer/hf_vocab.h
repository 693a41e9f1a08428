// A Hugging Face folder's tokenizer files as GGUF metadata, and back.
//
// Read: byte-level BPE (GPT-2, Llama-3, Qwen, SmolLM, ...) and SentencePiece-style BPE with byte
// fallback (Llama-2, Mistral, Gemma), and unigrams (tokenizer/hf_unigram.h). WordPiece is refused,
// as are pre-tokenizers and normalisers that llama.cpp has no twin of. Unicode normalisation (NFC)
// is accepted and not applied: llama.cpp has none, and text in NFC, as nearly all is, is not
// changed by it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/gguf.h"
#include "tokenizer/vocab.h"

namespace coldpress {

// The `tokenizer.*` keys for the tokenizer in `folder`: tokenizer.json, and tokenizer_config.json,
// chat_template.jinja and config.json where they exist. The vocabulary is padded with unused tokens
// to config.json's vocab_size, so that it has one entry for each embedding row.
// `pre`, if not empty, is the name of byte-level BPE's pre-tokenizer, whatever the file's looks
// like.
Result<GgufMetadata> hf_tokenizer_metadata(const std::filesystem::path& folder,
                                           const std::string& pre = {});

struct HfTokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
};
// The inverse, for byte-level BPE (model "gpt2") with a known pre-tokenizer; `pre` as above.
Result<HfTokenizerFiles> hf_tokenizer_files(const GgufMetadata& metadata, const std::string& where,
                                            const std::string& pre = {});

}  // namespace coldpress
