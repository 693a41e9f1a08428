// The whole of `eval`, from paths to numbers. The command line and the library
// (coldpress/evaluate.h) are two ways to ask for it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/status.h"
#include "eval/comparison.h"
#include "eval/perplexity.h"
#include "io/json.h"
#include "model/online.h"
#include "transform/steps.h"

namespace coldpress {

struct EvaluateJob {
  std::string model;      // Hugging Face folder or .gguf file
  std::string reference;  // the model to compare with; empty: perplexity alone
  std::string text;       // as the user named it
  std::filesystem::path text_file;
  std::string protocol;       // eval/protocol.h
  std::string tokenizer_pre;  // empty: what the model says
  TransformOptions low_bits;  // of activations, keys and values, in place of what the model says
  int64_t windows = 0;        // the first so many; 0: all
  int threads = 1;
  EvalProgress progress;  // may be empty
};

struct Evaluation {
  EvalResult model;
  OnlineParts online;                          // what ran along with the model
  std::optional<ComparisonResult> comparison;  // with a reference; `model` is then its own
  std::optional<Json> overlap;  // what the text shares with the model's calibration, if known
};

// Logits that are not finite are an error.
Result<Evaluation> evaluate_model(const EvaluateJob& job);

Json evaluation_to_json(const EvaluateJob& job, const Evaluation& evaluation);

}  // namespace coldpress
