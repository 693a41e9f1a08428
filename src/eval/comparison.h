// A model beside its reference on the same windows: how far their distributions over the next token
// are apart. Both are run in lock-step: each row of logits is compared while both are in memory, so
// that nothing is rounded in between and no file of logits is needed.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/perplexity.h"
#include "eval/statistics.h"
#include "model/model.h"
#include "parallel/thread_pool.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {

struct ComparisonResult {
  Distribution forward;  // of KL(reference || model), in nats per scored token
  Distribution reverse;  // of KL(model || reference)
  MeanOf top1_agreement;
  EvalResult model;      // as evaluate_perplexity gives it, but for the seconds
  EvalResult reference;  // likewise
  double seconds = 0;    // wall time, tokenising included
};

// The same numbers for any thread count. Refuses a pair whose tokenizers differ: in the number of
// tokens, the use of BOS, or the ids of `text`. Keeps windows * context * hidden floats of each
// model, and of their weights one block or both heads.
Result<ComparisonResult> evaluate_comparison(const Model& model, const Tokenizer& tokenizer,
                                             const Model& reference,
                                             const Tokenizer& reference_tokenizer,
                                             std::string_view text, const EvalOptions& options,
                                             ThreadPool& pool);

// One value of each per scored token, window by window.
struct TokenComparison {
  std::vector<double> forward;
  std::vector<double> reverse;
  std::vector<double> same_top;  // 0 or 1
  std::vector<double> nll;
  std::vector<double> reference_nll;
};

// Both models' logits must be of one length.
Result<TokenComparison> compare_windows(const Model& model, const Model& reference,
                                        const EvalWindows& windows, const EvalProgress& progress,
                                        ThreadPool& pool);

}  // namespace coldpress
