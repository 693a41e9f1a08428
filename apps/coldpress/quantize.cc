// coldpress quantize: the plan, carried out, written and proven.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "export/export.h"
#include "memory.h"
#include "output_options.h"
#include "pipeline/driver.h"
#include "pipeline/manifest.h"
#include "press_options.h"
#include "report/record.h"
#include "terminal.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kExamples =
    "coldpress quantize Llama-3.2-1B --bits 4 --group 128 -o pressed-4bit\n"
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

Status run_quantize(const PressOptions& options) {
  const auto start = Clock::now();
  const int threads = thread_count(options.threads);
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(options.model));
  COLDPRESS_ASSIGN_OR_RETURN(const Plan plan, make_plan(*model, options.recipe, threads));
  ExportRequest request{*model,
                        options.out,
                        options.recipe.dense_type,
                        quantised_names(plan),
                        COLDPRESS_VERSION,
                        options.tokenizer_pre};
  request.split_bytes = options.split_bytes;
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<ExportSink> sink, open_export(request));
  COLDPRESS_ASSIGN_OR_RETURN(const CalibrationWindows windows, read_windows(options));

  ThreadPool pool(threads);
  ProgressBar bar("pressing");
  DriverHooks hooks;
  hooks.put = [&sink](const std::string& name, View2<const float> values) {
    return sink->put(name, values);
  };
  hooks.progress = [&bar](const Progress& p) {
    bar.update(p.done, p.total,
               fmt::format("block {}/{}, error {:.4f}", p.block + 1, p.blocks, p.mean_error));
  };
  COLDPRESS_ASSIGN_OR_RETURN(const RunReport report, run_plan(*model, plan, windows, hooks, pool));
  bar.finish();

  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  Json manifest = make_manifest(*model, plan, windows, report,
                                {COLDPRESS_VERSION, threads, peak_rss_bytes(), seconds});
  record_output(sink->tensors(), &manifest);
  COLDPRESS_RETURN_IF_ERROR(sink->finish({manifest.dump(2), reproducible_part(manifest).dump()}));
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
  verb->add_option("-o,--out", options->out,
                   "Model to write: NAME.gguf, or the name of a safetensors folder")
      ->required();
  add_split_option(*verb, options->split_bytes);
  verb->callback([=, &run] { run = [options] { return run_quantize(*options); }; });
}

}  // namespace coldpress::cli
