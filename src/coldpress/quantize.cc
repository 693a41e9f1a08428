#include "coldpress/quantize.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "coldpress/recipe_of.h"
#include "coldpress/version.h"
#include "io/json.h"
#include "pipeline/quantize_model.h"

namespace coldpress {
namespace {

Result<std::filesystem::path> find_text(const std::string& name) {
  std::error_code error;
  if (std::filesystem::exists(name, error)) return std::filesystem::path(name);
  return not_found("there is no text file '" + name + "' to calibrate on");
}

}  // namespace

Result<std::string> quantize(const std::string& model, const std::string& out,
                             const QuantizeOptions& options) {
  QuantizeJob job;
  job.model = model;
  job.out = out;
  job.find_text = find_text;
  job.imatrix = options.imatrix;
  job.tokenizer_pre = options.tokenizer_pre;
  job.split_bytes = options.split_bytes;
  job.shard_bytes = options.shard_bytes;
  job.max_ram = options.max_ram;
  job.work_dir = options.work_dir;
  job.given = {!options.dense_type.empty(), !options.method.scale_type.empty()};
  COLDPRESS_ASSIGN_OR_RETURN(job.target, target_of(options));
  job.version = version();
  COLDPRESS_ASSIGN_OR_RETURN(job.threads, threads_of(options.threads));
  COLDPRESS_ASSIGN_OR_RETURN(job.recipe, recipe_of(options));
  if (options.progress) {
    job.progress = [&options](const Progress& p) {
      return options.progress({p.done, p.total, p.tensor, p.mean_error});
    };
  }
  COLDPRESS_ASSIGN_OR_RETURN(const Json manifest, quantize_model(std::move(job)));
  return manifest.dump();
}

}  // namespace coldpress
