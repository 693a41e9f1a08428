// coldpress imatrix: Gram diagonals as a file for llama-quantize --imatrix.
#include "hessian/imatrix.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "calibration/imatrix_collector.h"
#include "common_options.h"
#include "io/json.h"
#include "press_options.h"
#include "terminal.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

constexpr const char* kExamples =
    "coldpress imatrix model.gguf --samples 16 --seqlen 128 -o c4.imatrix.gguf\n"
    "coldpress imatrix Llama-3.2-1B --calibration my-text.txt --samples 8 --seqlen 128 --json -o "
    "mine.imatrix.gguf";

Status run_imatrix(const PressOptions& options) {
  const double start = seconds_now();
  if (std::filesystem::exists(options.out)) {
    return invalid_argument(options.out + " already exists; remove it or choose another name");
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(options.model));
  const int64_t context = model->config().context;
  if (context > 0 && options.recipe.seqlen > context) {
    return invalid_argument(fmt::format("--seqlen {} is longer than the model's context of {}",
                                        options.recipe.seqlen, context));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const CalibrationWindows windows, read_windows(options));
  ThreadPool pool(thread_count(options.threads));
  ProgressBar bar("measuring");
  COLDPRESS_ASSIGN_OR_RETURN(
      const Imatrix imatrix,
      collect_imatrix(
          *model, windows, [&bar](int64_t done, int64_t total) { bar.update(done, total); }, pool));
  bar.finish();
  COLDPRESS_RETURN_IF_ERROR(write_imatrix(options.out, imatrix));
  const double seconds = seconds_now() - start;
  const int64_t tokens = imatrix.chunks * imatrix.chunk_size;
  if (options.json) {
    fmt::print("{}\n", Json{{"path", options.out},
                            {"entries", imatrix.entries.size()},
                            {"windows", imatrix.chunks},
                            {"length", imatrix.chunk_size},
                            {"tokens", tokens},
                            {"datasets", imatrix.datasets},
                            {"seconds", seconds}}
                           .dump(2));
    return {};
  }
  fmt::print("{}: {} matrices, {} windows of {} tokens, {}\n", options.out, imatrix.entries.size(),
             imatrix.chunks, imatrix.chunk_size, human_seconds(seconds));
  return {};
}

}  // namespace

void add_imatrix(CLI::App& app, Run& run) {
  CLI::App* verb =
      add_verb(app, "imatrix", "Measure a model's inputs for llama-quantize --imatrix", kExamples);
  auto options = std::make_shared<PressOptions>();
  verb->add_option("MODEL", options->model, "Hugging Face folder or .gguf file")->required();
  verb->add_option("-o,--out", options->out, "File to write, NAME.gguf")->required();
  add_calibration_options(*verb, *options);
  add_tokenizer_pre_option(*verb, options->tokenizer_pre);
  verb->add_option("--threads", options->threads, "Threads (default: all cores)")
      ->check(CLI::PositiveNumber);
  verb->add_flag("--json", options->json, "Print JSON for machines");
  verb->callback([=, &run] { run = [options] { return run_imatrix(*options); }; });
}

}  // namespace coldpress::cli
