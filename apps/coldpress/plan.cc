// coldpress plan: what quantize would do, from metadata alone.
#include "pipeline/plan.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "calibration/sources.h"
#include "catalogue.h"
#include "format_options.h"
#include "io/json.h"
#include "io/toml.h"
#include "output_options.h"
#include "pipeline/memory_plan.h"
#include "pipeline/plan_codes.h"
#include "press_options.h"
#include "terminal.h"
#include "tokenizer/pre_tokenizer.h"
#include "type_options.h"
#include "verbs.h"

namespace coldpress::cli {
namespace {

constexpr const char* kExamples =
    "coldpress plan Llama-3.2-1B --bits 4 --group 128\n"
    "coldpress plan model.gguf --bits 3 --method gptq --json\n"
    "coldpress plan model.gguf --type Q4_K_M --allow-fallback --tensor-type attn_v=q8_0";

// The calibration texts' paths, or what to do to get them. A file that does not exist is an error.
Result<std::string> describe_texts(const std::string& calibration) {
  std::string missing;
  const auto find = [&missing](const std::string& name) -> Result<std::filesystem::path> {
    const Result<std::filesystem::path> path = resolve_text(name);
    if (path.ok() || find_in_catalogue(name) == nullptr) return path;
    missing = path.status().message();
    return std::filesystem::path(name);
  };
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<CalibrationSource> sources,
                             parse_calibration_sources(calibration, find));
  if (!missing.empty()) return missing;
  std::string text;
  for (const CalibrationSource& source : sources) {
    text += (text.empty() ? "" : ", ") + source.path.string();
    if (sources.size() > 1) text += fmt::format(" (weight {:g})", source.weight);
  }
  return text;
}

// What the run takes, and with a ceiling, what that costs.
std::string memory_text(const MemoryPlan& memory) {
  const auto size = [](int64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
  std::string text = fmt::format("memory: about {} at the peak", size(memory.without_ceiling));
  if (memory.max_ram == 0) {
    return text + fmt::format(" ({}); --max-ram can bring it down to {}\n", memory.at_peak,
                              size(memory.least));
  }
  text +=
      fmt::format(" without a ceiling\nmemory below --max-ram {}: about {} at the peak ({}), ",
                  size(static_cast<int64_t>(memory.max_ram)), size(memory.peak), memory.at_peak);
  if (memory.spilled_kinds == 0) return text + "nothing on disk\n";
  text += fmt::format("{} on disk:", size(memory.spilled_peak));
  for (int64_t i = 0; i < memory.spilled_kinds; ++i) {
    text += fmt::format("{} {}", i == 0 ? "" : ",", kSpillable[static_cast<std::size_t>(i)]);
  }
  return text + "\n";
}

void print_plan(const Plan& plan, const std::string& text) {
  std::vector<std::vector<std::string>> table = {
      {"tensor", "shape", "action", "from", "to", "bytes", "bits", "input or reason"}};
  uint64_t bytes = 0;
  int64_t quantised = 0;
  for (const PlannedTensor& tensor : plan.tensors) {
    const bool quantise = tensor.action == TensorAction::kQuantise;
    bytes += tensor.stored_bytes;
    quantised += quantise ? 1 : 0;
    table.push_back({tensor.name, shape_text(tensor.shape), quantise ? "quantise" : "copy",
                     tensor.source_type, tensor.stored_type, fmt::format("{}", tensor.stored_bytes),
                     quantise ? fmt::format("{:.3f}", tensor.bits_per_weight) : "",
                     quantise ? tensor.tap : tensor.reason});
  }
  for (const SetAside& part : plan.set_aside) {
    table.push_back(
        {part.name, shape_text(part.shape), "drop", part.type, "", "0", "", part.reason});
  }
  fmt::print("{}\n", text_table(table));
  fmt::print("{} of {} tensors quantised: {} weights at {:.3f} bits by {}\n", quantised,
             plan.tensors.size(), plan.quantised_weights, plan.bits_per_weight, plan.recipe.method);
  const std::string& format = plan.recipe.code_format;
  fmt::print("output: {} of tensors, stored as {}\n", human_bytes(static_cast<double>(bytes)),
             format.empty() ? dtype_name(plan.recipe.dense_type) : std::string_view(format));
  fmt::print("{}", memory_text(plan.memory));
  fmt::print("calibration: {} windows of {} tokens ({})\n", plan.recipe.samples, plan.recipe.seqlen,
             text);
  fmt::print("recipe, for --recipe:\n{}\n", to_toml(recipe_to_json(plan.recipe)));
  fmt::print("work: {:.1f} GFLOP forward, {:.1f} GFLOP of Grams, and the solver\n",
             1e-9 * plan.forward_flops, 1e-9 * plan.gram_flops);
}

Status run_plan_verb(PressOptions options) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(options.model));
  settle_code_types(*source, options.given, &options.recipe);
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<TransformedModel> model,
                             open_transformed(*source, options.recipe));
  COLDPRESS_ASSIGN_OR_RETURN(const std::optional<Imatrix> imatrix,
                             read_imatrix_option(*model, options));
  COLDPRESS_ASSIGN_OR_RETURN(
      const Plan plan,
      make_plan(*model, options.recipe, thread_count(options.threads), options.max_ram));
  COLDPRESS_RETURN_IF_ERROR(check_target(*model, plan, options.target, {}));
  if (!options.tokenizer_pre.empty()) {
    COLDPRESS_RETURN_IF_ERROR(check_pre_tokenizer_name(options.tokenizer_pre, "--tokenizer-pre"));
  }
  std::string text = options.imatrix;
  if (!imatrix) {
    COLDPRESS_ASSIGN_OR_RETURN(text, describe_texts(options.recipe.calibration));
  }
  if (options.json) {
    Json json = plan_to_json(plan);
    json["calibration_text"] = text;
    const auto seed = options.recipe.calibration_seed;
    json["calibration_seed"] = seed ? Json(*seed) : Json(nullptr);
    fmt::print("{}\n", json.dump(2));
  } else {
    print_plan(plan, text);
  }
  return {};
}

// What a GGUF file of a mix would hold.
Status run_types_verb(const PressOptions& options, const MixOptions& mix) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(options.model));
  Plan plan;
  plan.recipe = options.recipe;
  plan.recipe.types = mix;
  COLDPRESS_RETURN_IF_ERROR(check_code_recipe(*model, plan.recipe));
  COLDPRESS_RETURN_IF_ERROR(check_target(*model, plan, options.target, {}));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<TensorTypeChoice> choices, gguf_types(*model, mix));
  if (options.json) {
    fmt::print("{}\n", types_to_json(mix.mix, choices).dump(2));
  } else {
    print_types(mix.mix, choices);
  }
  return {};
}

}  // namespace

void add_plan(CLI::App& app, Run& run) {
  CLI::App* verb = add_verb(
      app, "plan", "Show what quantize would do to every tensor; reads no weights", kExamples);
  auto options = std::make_shared<PressOptions>();
  add_press_options(*verb, *options);
  add_imatrix_option(*verb, *options);
  add_max_ram_option(*verb, options->max_ram);
  add_format_options(*verb, *options);
  auto types = std::make_shared<TypeOptions>();
  add_type_options(*verb, *types);
  verb->callback([=, &run] {
    note_given_types(*verb, *options);
    run = [options, types] {
      return types->mix.mix.empty() ? run_plan_verb(*options)
                                    : run_types_verb(*options, types->mix);
    };
  });
}

}  // namespace coldpress::cli
