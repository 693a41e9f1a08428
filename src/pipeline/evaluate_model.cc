#include "pipeline/evaluate_model.h"

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "calibration/overlap.h"
#include "io/file.h"
#include "io/json.h"
#include "report/read_manifest.h"
#include "transform/transformed_model.h"

namespace coldpress {
namespace {

// What the text shares with the calibration of a pressed model; nothing where that is not known.
Result<std::optional<Json>> overlap_of(const EvaluateJob& job, const Tokenizer& tokenizer,
                                       const std::string& text) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::optional<Json> manifest, read_manifest(job.model));
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
                             sketch_from_json(calibration["sketch"], job.model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.encode(text, true));
  const Overlap overlap = find_overlap(sketch, ids);
  return std::optional<Json>(Json{{"same_file", same_file},
                                  {"passages_sampled", overlap.sampled},
                                  {"passages_found", overlap.found},
                                  {"share_of_calibration", overlap.share_of_calibration},
                                  {"share_of_text", overlap.share_of_text}});
}

Json to_json(const EvalResult& result, const EvaluateJob& job) {
  return {{"model", job.model},
          {"text", job.text},
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

Json to_json(const ComparisonResult& result, const EvaluateJob& job) {
  Json json = to_json(result.model, job);
  json["seconds"] = result.seconds;
  json["reference"] = {{"model", job.reference},
                       {"perplexity", result.reference.perplexity},
                       {"mean_nll", result.reference.mean_nll},
                       {"standard_error", result.reference.standard_error}};
  json["kl"] = {{"reference_to_model", to_json(result.forward)},
                {"model_to_reference", to_json(result.reverse)}};
  json["top1_agreement"] = {{"mean", result.top1_agreement.mean},
                            {"standard_error", result.top1_agreement.standard_error}};
  return json;
}

Status not_finite(const std::string& model) {
  return corrupt(model + " computes logits that are not finite, so it has no perplexity");
}

}  // namespace

Result<Evaluation> evaluate_model(const EvaluateJob& job) {
  EvalOptions options;
  COLDPRESS_ASSIGN_OR_RETURN(options.protocol, protocol_from_name(job.protocol));
  options.max_windows = job.windows;
  options.progress = job.progress;
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(job.model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<TransformedModel> model,
                             TransformedModel::create(*source, job.low_bits, DType::kF32));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                             Tokenizer::open(job.model, job.tokenizer_pre));
  COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(job.text_file));
  Evaluation evaluation;
  evaluation.online = model->config().online;
  COLDPRESS_ASSIGN_OR_RETURN(evaluation.overlap, overlap_of(job, *tokenizer, text));
  ThreadPool pool(job.threads);
  if (job.reference.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(evaluation.model,
                               evaluate_perplexity(*model, *tokenizer, text, options, pool));
    if (!std::isfinite(evaluation.model.mean_nll)) return not_finite(job.model);
    return evaluation;
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> reference, Model::open(job.reference));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> reference_tokenizer,
                             Tokenizer::open(job.reference, job.tokenizer_pre));
  COLDPRESS_ASSIGN_OR_RETURN(ComparisonResult result,
                             evaluate_comparison(*model, *tokenizer, *reference,
                                                 *reference_tokenizer, text, options, pool));
  if (!std::isfinite(result.reference.mean_nll)) return not_finite(job.reference);
  if (!std::isfinite(result.forward.mean)) return not_finite(job.model);
  evaluation.model = result.model;
  evaluation.comparison = std::move(result);
  return evaluation;
}

Json evaluation_to_json(const EvaluateJob& job, const Evaluation& evaluation) {
  Json json =
      evaluation.comparison ? to_json(*evaluation.comparison, job) : to_json(evaluation.model, job);
  json["online"] = online_to_json(evaluation.online);
  json["calibration_overlap"] = evaluation.overlap.value_or(Json());
  return json;
}

}  // namespace coldpress
