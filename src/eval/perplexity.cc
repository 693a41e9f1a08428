#include "eval/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>

#include "base/hash.h"
#include "base/view.h"
#include "eval/nll.h"

namespace coldpress {
namespace {

constexpr int64_t kLogitRows = 256;  // rows of logits in memory at a time, per worker

Status first_error(const std::vector<Status>& statuses) {
  for (const Status& s : statuses) {
    if (!s.ok()) return s;
  }
  return {};
}

class Scorer {
 public:
  Scorer(const Model& model, const EvalWindows& windows, const EvalProgress& progress,
         ThreadPool& pool)
      : model_(model),
        windows_(windows),
        progress_(progress),
        pool_(pool),
        residual_(windows.count() * windows.context, model.config().hidden),
        taps_(static_cast<std::size_t>(pool.threads())) {
    for (int i = 0; i < pool.threads(); ++i) runners_.emplace_back(model.config());
    const ModelConfig& c = model.config();
    const double block = static_cast<double>(2 * c.hidden * c.head_dim * (c.heads + c.kv_heads) +
                                             3 * c.hidden * c.ffn) *
                         static_cast<double>(windows.context);
    const double head =
        static_cast<double>(c.vocab * c.hidden) * static_cast<double>(windows.scored);
    head_steps_ = std::max<int64_t>(1, std::llround(head / std::max(1.0, block)));
  }

  Result<std::vector<double>> run() {
    for (const int32_t id : windows_.inputs) {
      if (id < 0 || id >= model_.config().vocab) {
        return invalid_argument(
            fmt::format("token {} of the text is outside the model's vocabulary of {}; the "
                        "tokenizer belongs to "
                        "another model",
                        id, model_.config().vocab));
      }
    }
    COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model_));
    COLDPRESS_RETURN_IF_ERROR(for_each_window([&](int64_t w, int worker) {
      const auto first = windows_.inputs.begin() + w * windows_.context;
      const std::span<const int32_t> ids(first, first + windows_.context);
      return runner(worker).embed(head, ids, residual(w));
    }));
    const auto blocks = static_cast<int>(model_.config().blocks);
    for (int block = 0; block < blocks; ++block) {
      COLDPRESS_RETURN_IF_ERROR(run_block(block));
      report(block + 1);
    }
    return score(head);
  }

 private:
  StageRunner& runner(int worker) { return runners_[static_cast<std::size_t>(worker)]; }
  View2<float> residual(int64_t w) {
    return residual_.view().row_range(w * windows_.context, windows_.context);
  }
  void report(int64_t done) const {
    if (progress_) progress_(done, model_.config().blocks + head_steps_);
  }
  template <typename F>
  Status for_each_window(const F& f) {
    std::vector<Status> statuses(static_cast<std::size_t>(windows_.count()));
    pool_.for_each(windows_.count(), [&](int64_t w, int worker) {
      statuses[static_cast<std::size_t>(w)] = f(w, worker);
    });
    return first_error(statuses);
  }

  Status run_block(int block) {
    COLDPRESS_ASSIGN_OR_RETURN(const BlockWeights weights, BlockWeights::load(model_, block));
    const std::vector<Tap> taps = model_.taps(block);
    return for_each_window([&](int64_t w, int worker) -> Status {
      std::vector<MatrixF>& scratch = taps_[static_cast<std::size_t>(worker)];
      scratch.resize(taps.size());
      for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
        View2<const float> in;
        View2<float> out;
        if (stage > 0) in = scratch[stage - 1].view();
        if (stage < taps.size()) {
          MatrixF& tap = scratch[stage];
          if (tap.rows() != windows_.context || tap.cols() != taps[stage].width) {
            tap = MatrixF(windows_.context, taps[stage].width);
          }
          out = tap.view();
        }
        COLDPRESS_RETURN_IF_ERROR(
            runner(worker).run(weights, block, static_cast<int>(stage), residual(w), in, out));
      }
      return {};
    });
  }

  // Logits and NLLs of the scored positions, kLogitRows at a time.
  Result<std::vector<double>> score(const HeadWeights& head) {
    const int64_t chunks_per_window = (windows_.scored + kLogitRows - 1) / kLogitRows;
    const int64_t chunks = windows_.count() * chunks_per_window;
    std::vector<double> nll(static_cast<std::size_t>(windows_.count() * windows_.scored));
    std::vector<Status> statuses(static_cast<std::size_t>(chunks));
    std::vector<MatrixF> logits;
    for (int i = 0; i < pool_.threads(); ++i)
      logits.emplace_back(kLogitRows, model_.config().vocab);
    const auto one_chunk = [&](int64_t chunk, int worker) -> Status {
      const int64_t w = chunk / chunks_per_window;
      const int64_t skip = (chunk % chunks_per_window) * kLogitRows;
      const int64_t rows = std::min(kLogitRows, windows_.scored - skip);
      const int64_t at = windows_.first_scored + skip;
      const View2<float> out = logits[static_cast<std::size_t>(worker)].view().row_range(0, rows);
      COLDPRESS_RETURN_IF_ERROR(runner(worker).logits(head, residual(w).row_range(at, rows), out));
      for (int64_t i = 0; i < rows; ++i) {
        const int32_t target =
            windows_.targets[static_cast<std::size_t>(w * windows_.context + at + i)];
        nll[static_cast<std::size_t>(w * windows_.scored + skip + i)] =
            negative_log_likelihood({out.row(i), static_cast<std::size_t>(out.cols)}, target);
      }
      return {};
    };
    for (int64_t step = 0; step < head_steps_; ++step) {
      const int64_t first = chunks * step / head_steps_;
      const int64_t last = chunks * (step + 1) / head_steps_;
      pool_.for_each(last - first, [&](int64_t i, int worker) {
        statuses[static_cast<std::size_t>(first + i)] = one_chunk(first + i, worker);
      });
      report(model_.config().blocks + step + 1);
    }
    COLDPRESS_RETURN_IF_ERROR(first_error(statuses));
    return nll;
  }

  const Model& model_;
  const EvalWindows& windows_;
  const EvalProgress& progress_;
  ThreadPool& pool_;
  MatrixF residual_;                        // (windows * context, hidden)
  std::vector<StageRunner> runners_;        // one per worker
  std::vector<std::vector<MatrixF>> taps_;  // per worker and tap, (context, width)
  int64_t head_steps_ = 1;                  // the head's work in blocks, for progress
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Result<std::vector<double>> score_windows(const Model& model, const EvalWindows& windows,
                                          const EvalProgress& progress, ThreadPool& pool) {
  return Scorer(model, windows, progress, pool).run();
}

Result<EvalResult> evaluate_perplexity(const Model& model, const Tokenizer& tokenizer,
                                       std::string_view text, const EvalOptions& options,
                                       ThreadPool& pool) {
  const double start = now();
  const EvalProtocol protocol = options.protocol;
  COLDPRESS_ASSIGN_OR_RETURN(
      const std::vector<int32_t> tokens,
      tokenizer.encode(protocol_text(protocol, text), protocol_parses_special(protocol)));
  COLDPRESS_ASSIGN_OR_RETURN(
      const EvalWindows windows,
      cut_eval_windows(protocol, tokens, tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt,
                       options.max_windows));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<double> nll,
                             score_windows(model, windows, options.progress, pool));
  double sum = 0.0;
  double squares = 0.0;
  for (const double v : nll) {
    sum += v;
    squares += v * v;
  }
  const auto n = static_cast<double>(nll.size());
  EvalResult result;
  result.protocol = std::string(protocol_name(protocol));
  result.mean_nll = sum / n;
  result.perplexity = std::exp(result.mean_nll);
  const double variance = squares / n - result.mean_nll * result.mean_nll;
  result.standard_error = std::sqrt(std::max(0.0, variance) / std::max(1.0, n - 1.0));
  result.windows = windows.count();
  result.scored_tokens = static_cast<int64_t>(nll.size());
  result.context = windows.context;
  result.bos = windows.bos;
  result.text_hash = xxh3_128_hex(text);
  result.seconds = now() - start;
  return result;
}

}  // namespace coldpress
