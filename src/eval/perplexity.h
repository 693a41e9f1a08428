// Perplexity of a model on a text, by a named protocol (eval/protocol.h). The forward pass runs
// block by block over all windows at once, so that each block's weights are loaded once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/protocol.h"
#include "model/model.h"
#include "parallel/thread_pool.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {

// Called from the evaluating thread, now and then, with work done of all work (no particular unit).
using EvalProgress = std::function<void(int64_t done, int64_t total)>;

struct EvalOptions {
  EvalProtocol protocol = EvalProtocol::kGptq2048;
  int64_t max_windows = 0;  // 0: all
  EvalProgress progress;    // may be empty
};

struct EvalResult {
  std::string protocol;
  double perplexity = 0;      // exp(mean_nll)
  double mean_nll = 0;        // nats per scored token; NaN if the model computes NaN
  double standard_error = 0;  // of mean_nll, tokens taken as independent
  int64_t windows = 0;
  int64_t scored_tokens = 0;
  int64_t context = 0;
  bool bos = false;       // windows start with BOS
  std::string text_hash;  // XXH3-128 of the whole text as given
  double seconds = 0;     // wall time, tokenising included
};

// The same numbers for any thread count. Keeps windows * context * hidden floats.
Result<EvalResult> evaluate_perplexity(const Model& model, const Tokenizer& tokenizer,
                                       std::string_view text, const EvalOptions& options,
                                       ThreadPool& pool);

// The NLL of each scored token, window by window: count() * scored values. `tokens` outside the
// model's vocabulary are an error.
Result<std::vector<double>> score_windows(const Model& model, const EvalWindows& windows,
                                          const EvalProgress& progress, ThreadPool& pool);

// The text's windows, as the options' protocol reads and cuts it.
Result<EvalWindows> text_windows(const Tokenizer& tokenizer, std::string_view text,
                                 const EvalOptions& options);

// The result for the NLLs of all scored tokens; `seconds` is left to the caller.
EvalResult summarise_nll(const std::vector<double>& nll, const EvalWindows& windows,
                         EvalProtocol protocol, std::string_view text);

}  // namespace coldpress
