// coldpress quantize: the plan, carried out, written and proven.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "catalogue.h"
#include "distributed/open_comm.h"
#include "format_options.h"
#include "io/json.h"
#include "launch.h"
#include "output_options.h"
#include "pipeline/quantize_model.h"
#include "press_options.h"
#include "press_to_file.h"
#include "terminal.h"
#include "type_options.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

constexpr const char* kExamples =
    "coldpress quantize Llama-3.2-1B --bits 4 --group 128 -o pressed-4bit\n"
    "coldpress quantize Llama-3.2-1B --bits 4 --imatrix imatrix.gguf -o pressed-by-imatrix\n"
    "coldpress quantize Llama-3.2-1B --bits 4 --symmetric --group 32 --format compressed-tensors "
    "--target vllm --calibration my-text.txt --samples 8 --seqlen 128 -o for-vllm\n"
    "coldpress quantize model.gguf --bits 3 --calibration my-text.txt --samples 8 --seqlen 128 -o "
    "pressed.gguf";

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
  const Json& memory = manifest["memory"];
  const bool capped = memory.contains("peak_anonymous_bytes");
  const Json& peak = capped ? memory["peak_anonymous_bytes"] : manifest["peak_rss_bytes"];
  fmt::print("time: {} (forward {}, Grams {}, solving {}, writing {}); peak memory {}{}\n",
             part("command"), part("forward"), part("gram"), part("solve"), part("write"),
             human_bytes(peak.get<double>()), capped ? ", files' pages not counted" : "");
}

}  // namespace

Result<Json> press_to_file(const PressOptions& options, Comm* comm) {
  ProgressBar bar("pressing");
  QuantizeJob job;
  job.model = options.model;
  job.out = options.out;
  job.find_text = resolve_text;
  job.imatrix = options.imatrix;
  job.tokenizer_pre = options.tokenizer_pre;
  job.split_bytes = options.split_bytes;
  job.shard_bytes = options.shard_bytes;
  job.target = options.target;
  job.given = options.given;
  job.threads = thread_count(options.threads);
  job.max_ram = options.max_ram;
  job.work_dir = options.work_dir;
  job.version = COLDPRESS_VERSION;
  job.recipe = options.recipe;
  job.work = options.work;
  job.notice = [](const std::string& sentence) { print_notice(sentence); };
  job.comm = comm;
  job.progress = [&bar](const Progress& p) {
    bar.update(p.done, p.total,
               fmt::format("block {}/{}, error {:.4f}", p.block + 1, p.blocks, p.mean_error));
    return true;
  };
  COLDPRESS_ASSIGN_OR_RETURN(const Json manifest, quantize_model(std::move(job)));
  bar.finish();
  return manifest;
}

namespace {

struct ResumeOptions {
  bool restart = false;
  bool off = false;
};

// `opened`: the ranks, which live until an error is told: when they go all processes end, and
// mpirun ends those that are late.
Status run_quantize(const PressOptions& options, std::unique_ptr<Comm>* opened) {
  COLDPRESS_ASSIGN_OR_RETURN(*opened, open_comm(launch_of_this_process().ranks));
  COLDPRESS_ASSIGN_OR_RETURN(const Json manifest, press_to_file(options, opened->get()));
  if ((*opened)->rank() > 0) return {};  // rank 0 says it all
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
  add_format_options(*verb, *options);
  auto types = std::make_shared<TypeOptions>();
  add_type_options(*verb, *types);
  verb->add_option("-o,--out", options->out,
                   "Model to write: NAME.gguf, or the name of a safetensors folder")
      ->required();
  add_split_option(*verb, options->split_bytes);
  add_shard_option(*verb, options->shard_bytes);
  auto resume = std::make_shared<ResumeOptions>();
  verb->add_flag(
      "--restart", resume->restart,
      "Begin anew instead of going on from OUT.work, what a run that was cut short left");
  verb->add_flag("--no-resume", resume->off, "Keep no OUT.work: a run that is cut short is lost")
      ->excludes("--restart");
  add_max_ram_option(*verb, options->max_ram);
  verb->add_option(
      "--work-dir", options->work_dir,
      "Folder on a disk for what does not fit below --max-ram (default: the output's)");
  verb->callback([=, &run] {
    if (!resume->off) options->work.emplace(WorkFolderOptions{.restart = resume->restart});
    if (!types->mix.mix.empty()) options->recipe.types = types->mix;
    note_given_types(*verb, *options);
    const auto comm = std::make_shared<std::unique_ptr<Comm>>();
    run = [options, comm] { return run_quantize(*options, comm.get()); };
  });
}

}  // namespace coldpress::cli
