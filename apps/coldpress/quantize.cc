// coldpress quantize: the plan, carried out, written and proven.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "calibration/imatrix_grams.h"
#include "export/export.h"
#include "memory.h"
#include "output_options.h"
#include "pipeline/driver.h"
#include "pipeline/manifest.h"
#include "press_options.h"
#include "press_to_file.h"
#include "report/record.h"
#include "terminal.h"
#include "type_options.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kExamples =
    "coldpress quantize Llama-3.2-1B --bits 4 --group 128 -o pressed-4bit\n"
    "coldpress quantize Llama-3.2-1B --bits 4 --imatrix imatrix.gguf -o pressed-by-imatrix\n"
    "coldpress quantize model.gguf --bits 3 --calibration my-text.txt --samples 8 --seqlen 128 -o "
    "pressed.gguf";

std::vector<std::string> quantised_names(const Plan& plan) {
  std::vector<std::string> names;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.action == TensorAction::kQuantise) names.push_back(tensor.name);
  }
  return names;
}

void print_summary(const Json& manifest, const std::string& out) {
  const Json& result = manifest["result"];
  const Json& seconds = manifest["seconds"];
  fmt::print("{}: {} weights at {:.3f} bits by {}\n", out,
             result["quantised_weights"].get<int64_t>(), result["bits_per_weight"].get<double>(),
             manifest["recipe"]["method"].get<std::string>());
  fmt::print(
      "layer error: mean {:.4f}, {:.2f} times the rate-distortion bound (rounding: {:.4f})\n",
      result["mean_error"].get<double>(), result["multiple_of_bound"].get<double>(),
      result["mean_rtn_error"].get<double>());
  if (const auto count = result["fallbacks"].get<int64_t>(); count > 0) {
    fmt::print("{} tensors needed a fallback; the manifest names them\n", count);
  }
  const auto part = [&seconds](const char* key) {
    return human_seconds(seconds[key].get<double>());
  };
  fmt::print("time: {} (forward {}, Grams {}, solving {}, writing {}); peak memory {}\n",
             part("command"), part("forward"), part("gram"), part("solve"), part("write"),
             human_bytes(manifest["peak_rss_bytes"].get<double>()));
}

// What a run is calibrated on: windows of text, or a file of diagonals.
struct Calibration {
  CalibrationWindows windows;
  std::optional<Imatrix> imatrix;
};

Result<RunReport> press_model(const Model& model, const Plan& plan, const Calibration& calibration,
                              const std::string& imatrix_path, const DriverHooks& hooks,
                              ThreadPool& pool) {
  if (!calibration.imatrix) return run_plan(model, plan, calibration.windows, hooks, pool);
  COLDPRESS_ASSIGN_OR_RETURN(ImatrixGrams grams,
                             ImatrixGrams::create(model, *calibration.imatrix, imatrix_path));
  return run_plan(model, plan, grams, hooks, pool);
}

// In place of what a manifest says of calibration windows.
Json imatrix_json(const Imatrix& imatrix, const std::string& name) {
  return {{"imatrix", name},
          {"datasets", imatrix.datasets},
          {"entries", imatrix.entries.size()},
          {"windows", imatrix.chunks},
          {"tokens", imatrix.chunks * imatrix.chunk_size}};
}

}  // namespace

Result<Json> press_to_file(PressOptions options) {
  const auto start = Clock::now();
  const int threads = thread_count(options.threads);
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(options.model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<TransformedModel> model,
                             open_transformed(*source, options.recipe));
  Calibration calibration;
  COLDPRESS_ASSIGN_OR_RETURN(calibration.imatrix, read_imatrix_option(*model, options));
  COLDPRESS_ASSIGN_OR_RETURN(const Plan plan, make_plan(*model, options.recipe, threads));
  ExportRequest request{*model,
                        options.out,
                        options.recipe.dense_type,
                        quantised_names(plan),
                        COLDPRESS_VERSION,
                        options.tokenizer_pre};
  request.split_bytes = options.split_bytes;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.ggml_type >= 0) request.block_types[tensor.name] = tensor.ggml_type;
  }
  if (!options.recipe.types.mix.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(const Mix mix, find_mix(options.recipe.types.mix));
    request.gguf_file_type = mix.file_type;
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<ExportSink> sink, open_export(request));
  if (!calibration.imatrix) {
    COLDPRESS_ASSIGN_OR_RETURN(calibration.windows, read_windows(options));
  }

  ThreadPool pool(threads);
  COLDPRESS_RETURN_IF_ERROR(model->learn(calibration.windows, pool));
  ProgressBar bar("pressing");
  DriverHooks hooks;
  hooks.put = [&sink](const std::string& name, const PressedTensor& tensor) {
    return sink->put(name, tensor);
  };
  hooks.replace = [&model](const std::string& name, MatrixF values) {
    model->replace(name, std::move(values));
  };
  hooks.progress = [&bar](const Progress& p) {
    bar.update(p.done, p.total,
               fmt::format("block {}/{}, error {:.4f}", p.block + 1, p.blocks, p.mean_error));
  };
  COLDPRESS_ASSIGN_OR_RETURN(const RunReport report,
                             press_model(*model, plan, calibration, options.imatrix, hooks, pool));
  bar.finish();

  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  Json manifest = make_manifest(*model, plan, calibration.windows, report,
                                {COLDPRESS_VERSION, threads, peak_rss_bytes(), seconds});
  if (calibration.imatrix) {
    manifest["calibration"] = imatrix_json(*calibration.imatrix, options.imatrix);
    manifest["flops"]["forward"] = manifest["flops"]["gram"] = 0;
  }
  record_output(sink->tensors(), &manifest);
  COLDPRESS_RETURN_IF_ERROR(sink->finish({manifest.dump(2), reproducible_part(manifest).dump()}));
  return manifest;
}

namespace {

Status run_quantize(const PressOptions& options) {
  COLDPRESS_ASSIGN_OR_RETURN(const Json manifest, press_to_file(options));
  if (options.json) {
    fmt::print("{}\n", manifest.dump(2));
  } else {
    print_summary(manifest, options.out);
  }
  return {};
}

}  // namespace

void add_quantize(CLI::App& app, Run& run) {
  CLI::App* verb = add_verb(app, "quantize", "Press a model to 2-8 bits per weight", kExamples);
  auto options = std::make_shared<PressOptions>();
  add_press_options(*verb, *options);
  add_imatrix_option(*verb, *options);
  auto types = std::make_shared<TypeOptions>();
  add_type_options(*verb, *types);
  verb->add_option("-o,--out", options->out,
                   "Model to write: NAME.gguf, or the name of a safetensors folder")
      ->required();
  add_split_option(*verb, options->split_bytes);
  verb->callback([=, &run] {
    if (!types->mix.mix.empty()) options->recipe.types = types->mix;
    run = [options] { return run_quantize(*options); };
  });
}

}  // namespace coldpress::cli
