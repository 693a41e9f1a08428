#include "eval/perplexity.h"

#include <cmath>

#include "base/clock.h"
#include "base/hash.h"
#include "base/view.h"
#include "eval/nll.h"
#include "eval/statistics.h"
#include "eval/window_forward.h"

namespace coldpress {
Result<std::vector<double>> score_windows(const Model& model, const EvalWindows& windows,
                                          const EvalProgress& progress, ThreadPool& pool) {
  const int64_t steps = head_steps(model.config(), windows);
  int64_t done = 0;
  const auto step_done = [&] {
    ++done;
    if (progress) progress(done, model.config().blocks + steps);
  };
  WindowForward forward(model, windows, pool);
  COLDPRESS_RETURN_IF_ERROR(forward.run(step_done));
  COLDPRESS_RETURN_IF_ERROR(forward.load_head());
  const ScoredRows scored(windows);
  std::vector<double> nll(static_cast<std::size_t>(windows.count() * windows.scored));
  std::vector<MatrixF> logits;
  for (int i = 0; i < pool.threads(); ++i)
    logits.emplace_back(ScoredRows::kRows, model.config().vocab);
  const auto score = [&](const ScoredRows::Task& task, int worker) -> Status {
    const View2<float> rows =
        logits[static_cast<std::size_t>(worker)].view().row_range(0, task.rows);
    COLDPRESS_RETURN_IF_ERROR(forward.logits(worker, task.window, task.at, rows));
    for (int64_t i = 0; i < task.rows; ++i) {
      nll[static_cast<std::size_t>(task.out + i)] = negative_log_likelihood(
          {rows.row(i), static_cast<std::size_t>(rows.cols)}, scored.target(task, i));
    }
    return {};
  };
  COLDPRESS_RETURN_IF_ERROR(scored.for_each(pool, steps, score, step_done));
  return nll;
}

Result<EvalWindows> text_windows(const Tokenizer& tokenizer, std::string_view text,
                                 const EvalOptions& options) {
  const EvalProtocol protocol = options.protocol;
  COLDPRESS_ASSIGN_OR_RETURN(
      const std::vector<int32_t> tokens,
      tokenizer.encode(protocol_text(protocol, text), protocol_parses_special(protocol)));
  return cut_eval_windows(protocol, tokens, tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt,
                          options.max_windows);
}

EvalResult summarise_nll(const std::vector<double>& nll, const EvalWindows& windows,
                         EvalProtocol protocol, std::string_view text) {
  const MeanOf mean = mean_of(nll);
  EvalResult result;
  result.protocol = std::string(protocol_name(protocol));
  result.mean_nll = mean.mean;
  result.perplexity = std::exp(mean.mean);
  result.standard_error = mean.standard_error;
  result.windows = windows.count();
  result.scored_tokens = static_cast<int64_t>(nll.size());
  result.context = windows.context;
  result.bos = windows.bos;
  result.text_hash = xxh3_128_hex(text);
  return result;
}

Result<EvalResult> evaluate_perplexity(const Model& model, const Tokenizer& tokenizer,
                                       std::string_view text, const EvalOptions& options,
                                       ThreadPool& pool) {
  const double start = seconds_now();
  COLDPRESS_ASSIGN_OR_RETURN(const EvalWindows windows, text_windows(tokenizer, text, options));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<double> nll,
                             score_windows(model, windows, options.progress, pool));
  EvalResult result = summarise_nll(nll, windows, options.protocol, text);
  result.seconds = seconds_now() - start;
  return result;
}

}  // namespace coldpress
