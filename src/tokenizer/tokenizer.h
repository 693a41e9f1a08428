// Text to token ids, by libllama from a GGUF vocabulary. A Hugging Face folder's tokenizer.json is
// turned into such a vocabulary first (tokenizer/hf_vocab.h).
//
// Not for detokenising: measuring and calibrating need ids only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/vocab.h"

namespace coldpress {

// Immutable once opened; encode() may be called from several threads.
class Tokenizer {
 public:
  // `model_path`: a .gguf file, or a folder with tokenizer.json (tokenizer_config.json and
  // config.json are read where they exist). `pre`, if not empty, names the pre-tokenizer of
  // byte-level BPE in place of what the model says.
  static Result<std::unique_ptr<Tokenizer>> open(const std::filesystem::path& model_path,
                                                 const std::string& pre = {});
  // From metadata already in memory; `where` names it in errors.
  static Result<std::unique_ptr<Tokenizer>> from_metadata(const GgufMetadata& metadata,
                                                          const std::string& where,
                                                          const std::string& pre = {});
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // The ids of `text`; never adds BOS or EOS. With `parse_special`, control tokens spelled out in
  // the text ("<|endoftext|>") become their ids, as transformers does; without, they are plain
  // text, as llama.cpp's tools do. Bytes that are not UTF-8 count as U+FFFD.
  Result<std::vector<int32_t>> encode(std::string_view text, bool parse_special = false) const;

  int64_t vocab_size() const;
  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  // True if the model wants BOS at the start of a window; bos() has a value then.
  bool adds_bos() const;
  const ChatTemplate& chat_template() const;
  std::string describe() const;  // "gpt2 (smollm), 49152 tokens"

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
