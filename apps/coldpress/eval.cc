// coldpress eval: perplexity by a named protocol.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "calibration/overlap.h"
#include "catalogue.h"
#include "eval/perplexity.h"
#include "io/file.h"
#include "io/json.h"
#include "report/read_manifest.h"
#include "terminal.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

constexpr const char* kExamples =
    "coldpress eval model.gguf --text wiki --protocol llama.cpp-512 --windows 2\n"
    "coldpress eval Llama-3.2-1B --text my-text.txt --protocol gptq-2048 --windows 1 --json";

struct Options {
  std::string model;
  std::string text;
  std::string protocol;
  std::string tokenizer_pre;
  int64_t windows = 0;
  int threads = 0;
  bool json = false;
};

// What the text shares with the calibration of a pressed model; nothing where that is not known.
Result<std::optional<Json>> overlap_of(const Options& options, const Tokenizer& tokenizer,
                                       const std::string& text) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::optional<Json> manifest, read_manifest(options.model));
  if (!manifest || !manifest->is_object()) return std::optional<Json>();
  const Json calibration = manifest->value("calibration", Json::object());
  if (!calibration.is_object() || !calibration.contains("sketch")) return std::optional<Json>();
  bool same_file = false;
  const Json sources = calibration.value("sources", Json::array());
  for (const Json& source : sources) {
    same_file = same_file || (source.is_object() && source.contains("text_hash") &&
                              source["text_hash"] == xxh3_128_hex(text));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const CalibrationSketch sketch,
                             sketch_from_json(calibration["sketch"], options.model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(text, true));
  const Overlap overlap = find_overlap(sketch, ids);
  return std::optional<Json>(Json{{"same_file", same_file},
                                  {"passages_sampled", overlap.sampled},
                                  {"passages_found", overlap.found},
                                  {"share_of_calibration", overlap.share_of_calibration},
                                  {"share_of_text", overlap.share_of_text}});
}

void warn_of_overlap(const Json& overlap, const Options& options) {
  constexpr int64_t kAccident = 1;  // one passage may be a common phrase
  if (overlap["passages_found"].get<int64_t>() > kAccident) {
    print_warning(fmt::format(
        "{:.1f} % of the text this model was calibrated on is in {}: its perplexity flatters",
        100 * overlap["share_of_calibration"].get<double>(), options.text));
  } else if (overlap["same_file"].get<bool>()) {
    print_warning(fmt::format("this model was calibrated on other parts of {}", options.text));
  }
}

Json to_json(const EvalResult& result, const Options& options) {
  return {{"model", options.model},
          {"text", options.text},
          {"text_hash", result.text_hash},
          {"protocol", result.protocol},
          {"windows", result.windows},
          {"context", result.context},
          {"bos", result.bos},
          {"scored_tokens", result.scored_tokens},
          {"perplexity", result.perplexity},
          {"mean_nll", result.mean_nll},
          {"standard_error", result.standard_error},
          {"seconds", result.seconds}};
}

Status run_eval(const Options& options) {
  EvalOptions eval;
  COLDPRESS_ASSIGN_OR_RETURN(eval.protocol, protocol_from_name(options.protocol));
  eval.max_windows = options.windows;
  COLDPRESS_ASSIGN_OR_RETURN(const std::filesystem::path path, resolve_text(options.text));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(options.model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                             Tokenizer::open(options.model, options.tokenizer_pre));
  COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));

  COLDPRESS_ASSIGN_OR_RETURN(const std::optional<Json> overlap,
                             overlap_of(options, *tokenizer, text));

  ThreadPool pool(thread_count(options.threads));
  ProgressBar bar("evaluating");
  eval.progress = [&bar](int64_t done, int64_t total) { bar.update(done, total); };
  COLDPRESS_ASSIGN_OR_RETURN(const EvalResult result,
                             evaluate_perplexity(*model, *tokenizer, text, eval, pool));
  bar.finish();
  if (!std::isfinite(result.mean_nll)) {
    return corrupt(options.model + " computes logits that are not finite, so it has no perplexity");
  }
  if (overlap) warn_of_overlap(*overlap, options);
  if (options.json) {
    Json json = to_json(result, options);
    json["calibration_overlap"] = overlap.value_or(Json());
    fmt::print("{}\n", json.dump(2));
    return {};
  }
  fmt::print("perplexity {:.4f} +- {:.4f}\n", result.perplexity,
             result.perplexity * result.standard_error);
  fmt::print("{}: {} windows of {} tokens, {} scored, {}, {}\n", result.protocol, result.windows,
             result.context, result.scored_tokens, result.bos ? "with BOS" : "without BOS",
             human_seconds(result.seconds));
  return {};
}

}  // namespace

void add_eval(CLI::App& app, Run& run) {
  CLI::App* verb = add_verb(
      app, "eval", "Measure a model's perplexity on a text, by a named protocol", kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("MODEL", options->model, "Hugging Face folder or .gguf file")->required();
  verb->add_option("--text", options->text, "Text file, or a name known to fetch")->required();
  verb->add_option("--protocol", options->protocol,
                   "gptq-2048 (as papers do) or llama.cpp-512 (as llama-perplexity does)")
      ->required();
  verb->add_option("--windows", options->windows, "Only the first so many windows (default: all)")
      ->check(CLI::PositiveNumber);
  verb->add_option("--tokenizer-pre", options->tokenizer_pre,
                   "Pre-tokenizer, by llama.cpp's name, of a model whose own is not known");
  verb->add_option("--threads", options->threads, "Threads (default: all cores)")
      ->check(CLI::PositiveNumber);
  verb->add_flag("--json", options->json, "Print JSON for machines");
  verb->callback([=, &run] { run = [options] { return run_eval(*options); }; });
}

}  // namespace coldpress::cli
