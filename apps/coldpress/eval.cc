// coldpress eval: perplexity by a named protocol, and how far a model is from its reference.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "calibration/overlap.h"
#include "catalogue.h"
#include "common_options.h"
#include "eval/comparison.h"
#include "eval/perplexity.h"
#include "io/file.h"
#include "io/json.h"
#include "report/read_manifest.h"
#include "terminal.h"
#include "transform/transformed_model.h"
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

Json to_json(const Distribution& d) {
  return {{"mean", d.mean},
          {"standard_error", d.standard_error},
          {"median", d.median},
          {"percentile_99", d.percentile_99},
          {"max", d.max}};
}

Json to_json(const ComparisonResult& result, const Options& options) {
  Json json = to_json(result.model, options);
  json["seconds"] = result.seconds;
  json["reference"] = {{"model", options.reference},
                       {"perplexity", result.reference.perplexity},
                       {"mean_nll", result.reference.mean_nll},
                       {"standard_error", result.reference.standard_error}};
  json["kl"] = {{"reference_to_model", to_json(result.forward)},
                {"model_to_reference", to_json(result.reverse)}};
  json["top1_agreement"] = {{"mean", result.top1_agreement.mean},
                            {"standard_error", result.top1_agreement.standard_error}};
  return json;
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

Status not_finite(const std::string& model) {
  return corrupt(model + " computes logits that are not finite, so it has no perplexity");
}

// What both kinds of evaluation start from.
struct Inputs {
  EvalOptions eval;
  std::unique_ptr<Model> source;
  std::unique_ptr<Model> model;  // the source, with the low-bit settings asked for
  std::unique_ptr<Tokenizer> tokenizer;
  std::string text;
  std::optional<Json> overlap;
};

// What was rounded on the way.
void print_online(const OnlineParts& online) {
  const auto bits = [](const LowBits& how) {
    return how.bits == 0 ? "as they are" : fmt::format("of {} bits", how.bits);
  };
  if (online.activations.bits == 0 && online.kv.bits == 0) return;
  fmt::print("activations {}, keys and values {}\n", bits(online.activations), bits(online.kv));
}

template <typename R>
void report(const R& result, const Inputs& inputs, const Options& options) {
  if (inputs.overlap) warn_of_overlap(*inputs.overlap, options);
  if (options.json) {
    Json json = to_json(result, options);
    json["online"] = online_to_json(inputs.model->config().online);
    json["calibration_overlap"] = inputs.overlap.value_or(Json());
    fmt::print("{}\n", json.dump(2));
  } else {
    print(result);
    print_online(inputs.model->config().online);
  }
}

Status run_comparison(Inputs& inputs, const Options& options) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> reference,
                             Model::open(options.reference));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> reference_tokenizer,
                             Tokenizer::open(options.reference, options.tokenizer_pre));
  ThreadPool pool(thread_count(options.threads));
  ProgressBar bar("comparing");
  inputs.eval.progress = [&bar](int64_t done, int64_t total) { bar.update(done, total); };
  COLDPRESS_ASSIGN_OR_RETURN(
      const ComparisonResult result,
      evaluate_comparison(*inputs.model, *inputs.tokenizer, *reference, *reference_tokenizer,
                          inputs.text, inputs.eval, pool));
  bar.finish();
  if (!std::isfinite(result.reference.mean_nll)) return not_finite(options.reference);
  if (!std::isfinite(result.forward.mean)) return not_finite(options.model);
  report(result, inputs, options);
  return {};
}

Status run_perplexity(Inputs& inputs, const Options& options) {
  ThreadPool pool(thread_count(options.threads));
  ProgressBar bar("evaluating");
  inputs.eval.progress = [&bar](int64_t done, int64_t total) { bar.update(done, total); };
  COLDPRESS_ASSIGN_OR_RETURN(
      const EvalResult result,
      evaluate_perplexity(*inputs.model, *inputs.tokenizer, inputs.text, inputs.eval, pool));
  bar.finish();
  if (!std::isfinite(result.mean_nll)) return not_finite(options.model);
  report(result, inputs, options);
  return {};
}

Status run_eval(const Options& options) {
  Inputs inputs;
  COLDPRESS_ASSIGN_OR_RETURN(inputs.eval.protocol, protocol_from_name(options.protocol));
  inputs.eval.max_windows = options.windows;
  COLDPRESS_ASSIGN_OR_RETURN(const std::filesystem::path path, resolve_text(options.text));
  COLDPRESS_ASSIGN_OR_RETURN(inputs.source, Model::open(options.model));
  COLDPRESS_ASSIGN_OR_RETURN(
      inputs.model, TransformedModel::create(*inputs.source, options.low_bits, DType::kF32));
  COLDPRESS_ASSIGN_OR_RETURN(inputs.tokenizer,
                             Tokenizer::open(options.model, options.tokenizer_pre));
  COLDPRESS_ASSIGN_OR_RETURN(inputs.text, read_text_file(path));
  COLDPRESS_ASSIGN_OR_RETURN(inputs.overlap, overlap_of(options, *inputs.tokenizer, inputs.text));
  return options.kl ? run_comparison(inputs, options) : run_perplexity(inputs, options);
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
