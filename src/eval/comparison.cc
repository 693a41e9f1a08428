#include "eval/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/clock.h"
#include "eval/divergence.h"
#include "eval/nll.h"
#include "eval/window_forward.h"

namespace coldpress {
namespace {

// How the tokenizers differ on these windows, in words; empty: they do not.
std::string tokenizer_difference(const Tokenizer& a, const EvalWindows& a_windows,
                                 const Tokenizer& b, const EvalWindows& b_windows) {
  if (a.vocab_size() != b.vocab_size()) {
    return fmt::format("{} and {} tokens", a.vocab_size(), b.vocab_size());
  }
  if (a_windows.bos != b_windows.bos) return "only one of them starts windows with BOS";
  if (a_windows.inputs == b_windows.inputs && a_windows.targets == b_windows.targets) return {};
  const auto [at, other] = std::mismatch(a_windows.inputs.begin(), a_windows.inputs.end(),
                                         b_windows.inputs.begin(), b_windows.inputs.end());
  if (at == a_windows.inputs.end() || other == b_windows.inputs.end()) {
    return "one makes more tokens of the text than the other";
  }
  return fmt::format("token {} of the text is {} in one and {} in the other",
                     at - a_windows.inputs.begin(), *at, *other);
}

}  // namespace

Result<TokenComparison> compare_windows(const Model& model, const Model& reference,
                                        const EvalWindows& windows, const EvalProgress& progress,
                                        ThreadPool& pool) {
  const int64_t vocab = model.config().vocab;
  if (vocab != reference.config().vocab) {
    return invalid_argument(fmt::format(
        "{} has {} logits per token and {} has {}, so they cannot be compared",
        model.path().string(), vocab, reference.path().string(), reference.config().vocab));
  }
  const int64_t steps =
      head_steps(model.config(), windows) + head_steps(reference.config(), windows);
  const int64_t total = model.config().blocks + reference.config().blocks + steps;
  int64_t done = 0;
  const auto step_done = [&] {
    ++done;
    if (progress) progress(done, total);
  };
  WindowForward of_reference(reference, windows, pool);
  COLDPRESS_RETURN_IF_ERROR(of_reference.run(step_done));
  WindowForward of_model(model, windows, pool);
  COLDPRESS_RETURN_IF_ERROR(of_model.run(step_done));
  COLDPRESS_RETURN_IF_ERROR(of_reference.load_head());
  COLDPRESS_RETURN_IF_ERROR(of_model.load_head());

  TokenComparison out;
  for (auto* values : {&out.forward, &out.reverse, &out.same_top, &out.nll, &out.reference_nll}) {
    values->resize(static_cast<std::size_t>(windows.count() * windows.scored));
  }
  std::vector<std::array<MatrixF, 2>> logits(static_cast<std::size_t>(pool.threads()));
  for (auto& [p, q] : logits) {
    p = MatrixF(ScoredRows::kRows, vocab);
    q = MatrixF(ScoredRows::kRows, vocab);
  }
  const ScoredRows scored(windows);
  const auto compare = [&](const ScoredRows::Task& task, int worker) -> Status {
    auto& [p_logits, q_logits] = logits[static_cast<std::size_t>(worker)];
    const View2<float> p = p_logits.view().row_range(0, task.rows);
    const View2<float> q = q_logits.view().row_range(0, task.rows);
    COLDPRESS_RETURN_IF_ERROR(of_reference.logits(worker, task.window, task.at, p));
    COLDPRESS_RETURN_IF_ERROR(of_model.logits(worker, task.window, task.at, q));
    for (int64_t i = 0; i < task.rows; ++i) {
      const std::span<const float> p_row(p.row(i), static_cast<std::size_t>(vocab));
      const std::span<const float> q_row(q.row(i), static_cast<std::size_t>(vocab));
      const auto at = static_cast<std::size_t>(task.out + i);
      const RowDivergence d = row_divergence(p_row, q_row);
      out.forward[at] = d.forward;
      out.reverse[at] = d.reverse;
      out.same_top[at] = d.same_top ? 1 : 0;
      out.nll[at] = negative_log_likelihood(q_row, scored.target(task, i));
      out.reference_nll[at] = negative_log_likelihood(p_row, scored.target(task, i));
    }
    return {};
  };
  COLDPRESS_RETURN_IF_ERROR(scored.for_each(pool, steps, compare, step_done));
  return out;
}

Result<ComparisonResult> evaluate_comparison(const Model& model, const Tokenizer& tokenizer,
                                             const Model& reference,
                                             const Tokenizer& reference_tokenizer,
                                             std::string_view text, const EvalOptions& options,
                                             ThreadPool& pool) {
  const double start = seconds_now();
  COLDPRESS_ASSIGN_OR_RETURN(const EvalWindows windows, text_windows(tokenizer, text, options));
  COLDPRESS_ASSIGN_OR_RETURN(const EvalWindows reference_windows,
                             text_windows(reference_tokenizer, text, options));
  const std::string difference =
      tokenizer_difference(tokenizer, windows, reference_tokenizer, reference_windows);
  if (!difference.empty()) {
    return invalid_argument(
        fmt::format("the tokenizers of {} and {} differ ({}), so their logits cannot be compared",
                    model.path().string(), reference.path().string(), difference));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const TokenComparison tokens,
                             compare_windows(model, reference, windows, options.progress, pool));
  ComparisonResult result;
  result.forward = distribution_of(tokens.forward);
  result.reverse = distribution_of(tokens.reverse);
  result.top1_agreement = mean_of(tokens.same_top);
  result.model = summarise_nll(tokens.nll, windows, options.protocol, text);
  result.reference = summarise_nll(tokens.reference_nll, windows, options.protocol, text);
  result.seconds = seconds_now() - start;
  return result;
}

}  // namespace coldpress
