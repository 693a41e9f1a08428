// How good a model is: what `coldpress eval` measures.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace coldpress {

struct EvaluateOptions {
  std::string text = {};               // a text file
  std::string protocol = "gptq-2048";  // or llama.cpp-512; their numbers do not compare
  int64_t windows = 0;                 // the first so many; 0: all
  std::string reference = {};      // compare with this model too: KL divergence and top-1 agreement
  std::string tokenizer_pre = {};  // the pre-tokenizer, by llama.cpp's name; empty: the model's own
  int threads = 0;                 // 0: all cores; the result does not depend on it
};

// Perplexity of the Hugging Face folder or .gguf file `model`: the JSON object that
// `coldpress eval --json` prints.
Result<std::string> evaluate(const std::string& model, const EvaluateOptions& options);

}  // namespace coldpress
