#include "press_options.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "catalogue.h"
#include "common_options.h"
#include "io/file.h"
#include "pipeline/presets.h"
#include "pipeline/quantize_model.h"
#include "transform_options.h"

namespace coldpress::cli {

void add_calibration_options(CLI::App& verb, PressOptions& options) {
  verb.add_option("--calibration", options.recipe.calibration,
                  "Text or JSONL file, or a name known to fetch; several with weights: A:0.6,B:0.4")
      ->capture_default_str();
  verb.add_option("--seed", options.recipe.calibration_seed,
                  "Choose the windows at random by this seed (default: the first ones)");
  verb.add_option("--samples", options.recipe.samples, "Calibration windows")
      ->capture_default_str();
  verb.add_option("--seqlen", options.recipe.seqlen, "Tokens per window")->capture_default_str();
}

void add_imatrix_option(CLI::App& verb, PressOptions& options) {
  CLI::Option* imatrix =
      verb.add_option("--imatrix", options.imatrix,
                      "Calibrate on this imatrix instead of a text: diagonal Grams only");
  for (const char* text : {"--calibration", "--seed", "--samples", "--seqlen"}) {
    imatrix->excludes(verb.get_option(text));
  }
}

Result<std::optional<Imatrix>> read_imatrix_option(const Model& model, PressOptions& options) {
  return read_imatrix_for(model, options.imatrix, &options.recipe);
}

namespace {

// --preset and --recipe.
void add_recipe_options(CLI::App& verb, Recipe& recipe) {
  const auto refuse_bad = [](const char* option, const Status& status) {
    if (!status.ok()) throw CLI::ValidationError(option, status.message());
  };
  std::string names;
  for (const Preset& preset : presets()) {
    names += (names.empty() ? "" : ", ") + std::string(preset.name);
  }
  CLI::Option* preset = verb.add_option_function<std::string>(
                                "--preset",
                                [&recipe, refuse_bad](const std::string& name) {
                                  refuse_bad("--preset", apply_preset(name, recipe));
                                },
                                "A recipe by name, which other options change: " + names)
                            ->type_name("NAME");
  CLI::Option* file = verb.add_option_function<std::string>(
                              "--recipe",
                              [&recipe, refuse_bad](const std::string& path) {
                                const auto text = read_text_file(path);
                                refuse_bad("--recipe", text.status());
                                refuse_bad("--recipe", apply_recipe_text(*text, path, recipe));
                              },
                              "A recipe in TOML, or the manifest of a run to repeat, which other "
                              "options change")
                          ->type_name("FILE");
  preset->excludes(file);
}

// --bits, or what stands for it.
void require_bits(CLI::App& verb) {
  verb.parse_complete_callback([&verb] {
    std::size_t given = 0;
    for (const char* option : {"--bits", "--type", "--preset", "--recipe"}) {
      if (const CLI::Option* o = verb.get_option_no_throw(option)) given += o->count();
    }
    const bool types = verb.get_option_no_throw("--type") != nullptr;
    if (given == 0) throw CLI::RequiredError(types ? "--bits or --type" : "--bits");
  });
}

}  // namespace

void add_press_options(CLI::App& verb, PressOptions& options) {
  Recipe& recipe = options.recipe;
  verb.add_option("MODEL", options.model, "Hugging Face folder or .gguf file")->required();
  // First, so that whatever else is said overrides them: callbacks run in this order.
  add_recipe_options(verb, recipe);
  verb.add_option("--bits", recipe.grid.bits, "Bits per weight, 2 to 8")->check(CLI::Range(2, 8));
  verb.add_option("--grid", recipe.grid.kind, "affine (integers), nf4 or fp4")
      ->capture_default_str();
  verb.add_option_function<std::string>(
          "--group",
          [&recipe](const std::string& text) {
            int64_t group = 0;
            if (text != "channel" && (!CLI::detail::lexical_cast(text, group) || group < 0)) {
              throw CLI::ValidationError("--group",
                                         "'" + text + "' is neither a count nor channel");
            }
            recipe.grid.group = group;
          },
          "Consecutive weights that share a scale; 0 or channel: a whole row")
      ->type_name("G")
      ->default_str("channel");
  verb.add_option("--method", recipe.method,
                  "rtn, gptq, quantease or admm-q; quantease-outliers or gptq-outliers")
      ->capture_default_str();
  verb.add_option("--init", recipe.init,
                  "quantease: method whose codes and scales it starts from (default: the weights)");
  verb.add_option("--outliers", recipe.solver.outlier_fraction,
                  "Fraction of the weights kept beside the grid, such as 0.01")
      ->check(CLI::Range(0.0, 0.5));
  verb.add_option_function<std::string>(
          "--outlier-mode",
          [&recipe](const std::string& text) {
            recipe.solver.outlier_mode =
                text == "columns" ? OutlierMode::kColumns : OutlierMode::kUnstructured;
          },
          "Which weights: any, or whole columns")
      ->check(CLI::IsMember({"unstructured", "columns"}))
      ->default_str("unstructured");
  verb.add_option("--effort", recipe.solver.effort,
                  "How long admm-q may search: 1 (fast) to 5 (best)")
      ->check(CLI::Range(1, 5))
      ->capture_default_str();
  verb.add_option("--refit", recipe.solver.refit_rounds,
                  "rtn, gptq, quantease: most rounds of scale refit and sweeps after the method")
      ->check(CLI::Range(0, 20))
      ->capture_default_str();
  verb.add_flag("--propagate,!--no-propagate", recipe.propagate,
                "Each linear makes good what it can of the errors before it, for a second forward "
                "pass (default)");
  verb.add_option_function<double>(
          "--shrinkage", [&recipe](double share) { recipe.shrinkage = share; },
          "How far to shrink the Hessians' off-diagonals, which few tokens leave to chance "
          "(default: by the number of tokens)")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("R");
  add_range_options(verb, recipe.grid);
  add_transform_options(verb, recipe.transform);
  add_low_bit_options(verb, recipe.transform);
  add_calibration_options(verb, options);
  add_tokenizer_pre_option(verb, options.tokenizer_pre);
  add_float_type_option(verb, "--dense-type", "How the result is stored", [&recipe](DType type) {
    recipe.dense_type = type;
  })->default_str("f16");
  verb.add_option("--threads", options.threads, "Threads (default: all cores)")
      ->check(CLI::PositiveNumber);
  verb.add_flag("--json", options.json, "Print JSON for machines");
  require_bits(verb);
}

Result<CalibrationWindows> read_windows(const PressOptions& options) {
  return read_windows(options.model, options.tokenizer_pre, options.recipe, resolve_text);
}

}  // namespace coldpress::cli
