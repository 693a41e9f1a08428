// coldpress eval: perplexity by a named protocol, and how far a model is from its reference.
#include <fmt/format.h>

#include <memory>
#include <string>

#include "catalogue.h"
#include "common_options.h"
#include "io/json.h"
#include "pipeline/evaluate_model.h"
#include "terminal.h"
#include "transform_options.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

constexpr const char* kExamples =
    "coldpress eval model.gguf --text wiki --protocol llama.cpp-512 --windows 2\n"
    "coldpress eval Llama-3.2-1B --text my-text.txt --protocol gptq-2048 --windows 1 --json\n"
    "coldpress eval model.gguf --reference Llama-3.2-1B --kl --text my-text.txt --protocol "
    "llama.cpp-512 --windows 2";

struct Options {
  std::string model;
  std::string reference;
  bool kl = false;
  std::string text;
  std::string protocol;
  std::string tokenizer_pre;
  TransformOptions low_bits;  // in place of what the model says
  int64_t windows = 0;
  int threads = 0;
  bool json = false;
};

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

void print_protocol(const EvalResult& result, double seconds) {
  fmt::print("{}: {} windows of {} tokens, {} scored, {}, {}\n", result.protocol, result.windows,
             result.context, result.scored_tokens, result.bos ? "with BOS" : "without BOS",
             human_seconds(seconds));
}

void print(const EvalResult& result) {
  fmt::print("perplexity {:.4f} +- {:.4f}\n", result.perplexity,
             result.perplexity * result.standard_error);
  print_protocol(result, result.seconds);
}

void print(const char* name, const Distribution& d) {
  fmt::print("{}: mean {:.6f} +- {:.6f}, median {:.6f}, 99 % {:.6f}, max {:.6f}\n", name, d.mean,
             d.standard_error, d.median, d.percentile_99, d.max);
}

void print(const ComparisonResult& result) {
  const auto error = [](const EvalResult& r) { return r.perplexity * r.standard_error; };
  fmt::print("perplexity {:.4f} +- {:.4f}, of the reference {:.4f} +- {:.4f}\n",
             result.model.perplexity, error(result.model), result.reference.perplexity,
             error(result.reference));
  print("KL(reference || model)", result.forward);
  print("KL(model || reference)", result.reverse);
  fmt::print("top-1 agreement {:.3f} +- {:.3f} %\n", 100 * result.top1_agreement.mean,
             100 * result.top1_agreement.standard_error);
  print_protocol(result.model, result.seconds);
}

// What was rounded on the way.
void print_online(const OnlineParts& online) {
  const auto bits = [](const LowBits& how) {
    return how.bits == 0 ? "as they are" : fmt::format("of {} bits", how.bits);
  };
  if (online.activations.bits == 0 && online.kv.bits == 0) return;
  fmt::print("activations {}, keys and values {}\n", bits(online.activations), bits(online.kv));
}

Status run_eval(const Options& options) {
  ProgressBar bar(options.kl ? "comparing" : "evaluating");
  EvaluateJob job;
  job.model = options.model;
  job.reference = options.reference;
  job.text = options.text;
  COLDPRESS_ASSIGN_OR_RETURN(job.text_file, resolve_text(options.text));
  job.protocol = options.protocol;
  job.tokenizer_pre = options.tokenizer_pre;
  job.low_bits = options.low_bits;
  job.windows = options.windows;
  job.threads = thread_count(options.threads);
  job.progress = [&bar](int64_t done, int64_t total) { bar.update(done, total); };
  COLDPRESS_ASSIGN_OR_RETURN(const Evaluation evaluation, evaluate_model(job));
  bar.finish();
  if (evaluation.overlap) warn_of_overlap(*evaluation.overlap, options);
  if (options.json) {
    fmt::print("{}\n", evaluation_to_json(job, evaluation).dump(2));
  } else if (evaluation.comparison) {
    print(*evaluation.comparison);
  } else {
    print(evaluation.model);
  }
  if (!options.json) print_online(evaluation.online);
  return {};
}

}  // namespace

void add_eval(CLI::App& app, Run& run) {
  CLI::App* verb = add_verb(
      app, "eval", "Measure a model's perplexity on a text, or its distance from a reference",
      kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("MODEL", options->model, "Hugging Face folder or .gguf file")->required();
  verb->add_option("--text", options->text, "Text file, or a name known to fetch")->required();
  verb->add_option("--protocol", options->protocol,
                   "gptq-2048 (as papers do) or llama.cpp-512 (as llama-perplexity does)")
      ->required();
  verb->add_option("--windows", options->windows, "Only the first so many windows (default: all)")
      ->check(CLI::PositiveNumber);
  CLI::Option* reference =
      verb->add_option("--reference", options->reference, "The model to compare with, by --kl");
  CLI::Option* kl = verb->add_flag(
      "--kl", options->kl, "Kullback-Leibler divergence from --reference, and top-1 agreement");
  reference->needs(kl);
  kl->needs(reference);
  add_low_bit_options(*verb, options->low_bits);
  add_tokenizer_pre_option(*verb, options->tokenizer_pre);
  verb->add_option("--threads", options->threads, "Threads (default: all cores)")
      ->check(CLI::PositiveNumber);
  verb->add_flag("--json", options->json, "Print JSON for machines");
  verb->callback([=, &run] { run = [options] { return run_eval(*options); }; });
}

}  // namespace coldpress::cli
