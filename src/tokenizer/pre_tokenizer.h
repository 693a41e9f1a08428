// Pre-tokenizers of byte-level BPE: recognised in a tokenizer.json by what they do (their steps and
// regular expressions, compared as text), named as llama.cpp's `tokenizer.ggml.pre`, and written
// back.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/json.h"

namespace coldpress {

// The name of the pre-tokenizer `node` (the value of "pre_tokenizer") of a model with this
// "ignore_merges". Unsupported, naming what was seen and what is known, if llama.cpp has no twin of
// it.
Result<std::string> recognise_pre_tokenizer(const Json& node, bool ignore_merges,
                                            const std::string& where);

// An error that lists the names libllama knows, if `name` is none of them. An empty one is an error
// too: what libllama assumes then ("default") suits hardly any model.
Status check_pre_tokenizer_name(std::string_view name, const std::string& where);

struct PreTokenizerJson {
  Json node;                   // for "pre_tokenizer"
  bool ignore_merges = false;  // for "model"."ignore_merges"
  bool adds_bos = false;       // what llama.cpp does where the metadata has no add_bos_token
};
// The inverse, for any llama.cpp name (aliases too) whose behaviour is in the table.
Result<PreTokenizerJson> pre_tokenizer_json(std::string_view name, const std::string& where);

}  // namespace coldpress
