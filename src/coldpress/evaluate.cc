#include "coldpress/evaluate.h"

#include "coldpress/recipe_of.h"
#include "io/json.h"
#include "pipeline/evaluate_model.h"

namespace coldpress {

Result<std::string> evaluate(const std::string& model, const EvaluateOptions& options) {
  if (options.windows < 0) return invalid_argument("--windows must be 0, for all, or positive");
  EvaluateJob job;
  job.model = model;
  job.reference = options.reference;
  job.text = options.text;
  job.text_file = options.text;
  job.protocol = options.protocol;
  job.tokenizer_pre = options.tokenizer_pre;
  job.windows = options.windows;
  COLDPRESS_ASSIGN_OR_RETURN(job.threads, threads_of(options.threads));
  COLDPRESS_ASSIGN_OR_RETURN(const Evaluation evaluation, evaluate_model(job));
  return evaluation_to_json(job, evaluation).dump();
}

}  // namespace coldpress
