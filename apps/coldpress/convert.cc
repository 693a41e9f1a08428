// coldpress convert: the same model in another container, type or number of files.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/peak_memory.h"
#include "common_options.h"
#include "export/export.h"
#include "io/json.h"
#include "output_options.h"
#include "pipeline/conversion_manifest.h"
#include "report/record.h"
#include "terminal.h"
#include "transform/transformed_model.h"
#include "transform_options.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

constexpr const char* kExamples =
    "coldpress convert Llama-3.2-1B -o model-bf16.gguf --dense-type bf16\n"
    "coldpress convert model.gguf -o folder";

struct Options {
  std::string model;
  std::string out;
  std::optional<DType> dense_type;
  uint64_t split_bytes = 0;
  uint64_t shard_bytes = 0;
  TransformOptions transform;
  std::string tokenizer_pre;  // empty: what the model says
  bool json = false;
};

Status run_convert(const Options& options) {
  const double start = seconds_now();
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(options.model));
  const DType dense_type = options.dense_type.value_or(natural_dense_type(*source));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<TransformedModel> model,
                             TransformedModel::create(*source, options.transform, dense_type));
  ExportRequest request{*model, options.out, dense_type, {}, COLDPRESS_VERSION};
  request.all_dense = options.dense_type.has_value();
  request.split_bytes = options.split_bytes;
  request.shard_bytes = options.shard_bytes;
  request.tokenizer_pre = options.tokenizer_pre;
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<ExportSink> sink, open_export(request));
  Json manifest;
  COLDPRESS_RETURN_IF_ERROR(sink->finish([&]() -> ExportManifest {
    const double seconds = seconds_now() - start;
    manifest = make_conversion_manifest(*model, request.dense_type, request.all_dense,
                                        {COLDPRESS_VERSION, 1, peak_rss_bytes(), seconds});
    manifest["transform"] = transforms_to_json(options.transform);
    record_output(sink->tensors(), &manifest);
    return {manifest.dump(2), reproducible_part(manifest).dump()};
  }));
  if (options.json) {
    fmt::print("{}\n", manifest.dump(2));
    return {};
  }
  int64_t converted = 0;
  for (const Json& row : manifest["tensors"]) converted += row["action"] == "converted" ? 1 : 0;
  fmt::print("{}: {} tensors, {} of them converted; {} left out\n", options.out,
             manifest["tensors"].size(), converted, manifest["dropped"].size());
  for (const Json& row : manifest["dropped"]) {
    fmt::print("left out: {} ({})\n", row["name"].get<std::string>(),
               row["reason"].get<std::string>());
  }
  return {};
}

}  // namespace

void add_convert(CLI::App& app, Run& run) {
  CLI::App* verb =
      add_verb(app, "convert", "Write a model as GGUF or as a Hugging Face folder", kExamples);
  auto options = std::make_shared<Options>();
  verb->add_option("MODEL", options->model, "Hugging Face folder or .gguf file")->required();
  verb->add_option("-o,--out", options->out,
                   "Model to write: NAME.gguf, or the name of a safetensors folder")
      ->required();
  add_float_type_option(*verb, "--dense-type",
                        "Store every matrix as this type (default: as the source does)",
                        [options](DType type) { options->dense_type = type; });
  add_split_option(*verb, options->split_bytes);
  add_shard_option(*verb, options->shard_bytes);
  add_transform_options(*verb, options->transform);
  add_tokenizer_pre_option(*verb, options->tokenizer_pre);
  verb->add_flag("--json", options->json, "Print the manifest for machines");
  verb->callback([=, &run] { run = [options] { return run_convert(*options); }; });
}

}  // namespace coldpress::cli
