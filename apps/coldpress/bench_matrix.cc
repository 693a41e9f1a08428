// coldpress bench matrix: methods x presets on one model, pressed, written, read back and
// evaluated.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench.h"
#include "catalogue.h"
#include "eval/perplexity.h"
#include "io/file.h"
#include "io/json.h"
#include "pipeline/presets.h"
#include "press_options.h"
#include "press_to_file.h"
#include "report/matrix_html.h"
#include "solver/table.h"
#include "terminal.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  PressOptions press;  // out: the folder of the results
  std::vector<std::string> presets;
  std::vector<std::string> methods = {"rtn", "gptq", "quantease", "admm-q"};
  std::string text;
  std::string protocol;
  int64_t windows = 0;
};

// Cells that an earlier call of the same comparison has left, so that it goes on where it was.
Result<Json> earlier_cells(const fs::path& file, const Json& matrix) {
  std::error_code error;
  if (!fs::exists(file, error)) return Json(Json::array());
  COLDPRESS_ASSIGN_OR_RETURN(const Json old, read_json_file(file));
  for (const char* key : {"model", "protocol", "windows", "text_hash", "calibration"}) {
    if (!old.is_object() || old.value(key, Json()) != matrix[key] || !old.contains("cells")) {
      return invalid_argument(
          fmt::format("{} is of another comparison (\"{}\" differs); choose another folder",
                      file.string(), key));
    }
  }
  return old["cells"];
}

struct Bench {
  const Options& options;
  std::string text;
  EvalOptions eval;
  ThreadPool pool;
  Json matrix;

  Status save() const {
    const fs::path folder(options.press.out);
    COLDPRESS_RETURN_IF_ERROR(write_text_file(folder / "matrix.json", matrix.dump(2) + "\n"));
    return write_text_file(folder / "matrix.html", matrix_html(matrix));
  }

  Result<EvalResult> evaluate(const fs::path& path) {
    COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(path));
    COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                               Tokenizer::open(path, options.press.tokenizer_pre));
    return evaluate_perplexity(*model, *tokenizer, text, eval, pool);
  }

  // Presses to a file that is gone afterwards.
  Result<Json> run_cell(const std::string& preset, const std::string& method) {
    PressOptions press = options.press;
    COLDPRESS_RETURN_IF_ERROR(apply_preset(preset, press.recipe));
    press.recipe.method = method;
    const fs::path pressed = fs::path(options.press.out) / "cell.gguf";
    press.out = pressed.string();
    const auto clear = [&pressed] {
      std::error_code ignored;
      fs::remove(pressed, ignored);
      fs::remove(pressed.string() + ".coldpress.json", ignored);
    };
    clear();  // of a run that was killed
    auto manifest = press_to_file(press);
    std::optional<Result<EvalResult>> result;
    if (manifest.ok()) result.emplace(evaluate(pressed));
    clear();
    if (!manifest.ok()) return manifest.status();
    if (!result->ok()) return result->status();
    const Json& found = (*manifest)["result"];
    return Json{{"preset", preset},
                {"method", method},
                {"perplexity", (*result)->perplexity},
                {"standard_error", (*result)->perplexity * (*result)->standard_error},
                {"bits_per_weight", found["bits_per_weight"]},
                {"mean_error", found["mean_error"]},
                {"multiple_of_bound", found["multiple_of_bound"]},
                {"seconds", (*manifest)["seconds"]["command"]},
                {"recipe", (*manifest)["recipe"]}};
  }

  const Json* find(const std::string& preset, const std::string& method) const {
    for (const Json& cell : matrix["cells"]) {
      if (cell["preset"] == preset && cell["method"] == method) return &cell;
    }
    return nullptr;
  }
};

void print_table(const Bench& bench) {
  std::vector<std::vector<std::string>> table = {{"preset"}};
  for (const std::string& method : bench.options.methods) table[0].push_back(method);
  for (const std::string& preset : bench.options.presets) {
    table.push_back({preset});
    for (const std::string& method : bench.options.methods) {
      table.back().push_back(
          fmt::format("{:.2f}", (*bench.find(preset, method))["perplexity"].get<double>()));
    }
  }
  std::cout << text_table(table);
  std::cout << fmt::format("unquantised: {:.2f}; perplexity by {}, {} windows\n",
                           bench.matrix["reference"]["perplexity"].get<double>(),
                           bench.options.protocol, bench.matrix["windows"].get<int64_t>());
}

Status run_matrix(Options options) {
  for (const std::string& method : options.methods) {
    COLDPRESS_RETURN_IF_ERROR(find_solver_on_grid(method, "--methods").status());
  }
  for (const std::string& preset : options.presets) {
    COLDPRESS_RETURN_IF_ERROR(find_preset(preset).status());
  }
  EvalOptions eval;
  COLDPRESS_ASSIGN_OR_RETURN(eval.protocol, protocol_from_name(options.protocol));
  eval.max_windows = options.windows;
  COLDPRESS_ASSIGN_OR_RETURN(const fs::path path, resolve_text(options.text));
  COLDPRESS_ASSIGN_OR_RETURN(std::string text, read_text_file(path));
  std::error_code error;
  fs::create_directories(options.press.out, error);
  if (error) return io_error(fmt::format("cannot make folder {}", options.press.out));
  Bench bench{options, std::move(text), eval, ThreadPool(thread_count(options.press.threads)), {}};
  COLDPRESS_ASSIGN_OR_RETURN(const EvalResult reference, bench.evaluate(options.press.model));
  const Recipe& recipe = options.press.recipe;
  bench.matrix = {{"model", options.press.model},
                  {"protocol", options.protocol},
                  {"windows", reference.windows},
                  {"text_hash", reference.text_hash},
                  {"calibration", recipe_to_json(recipe)["calibration"]},
                  {"reference",
                   {{"perplexity", reference.perplexity},
                    {"standard_error", reference.perplexity * reference.standard_error}}},
                  {"methods", options.methods},
                  {"presets", options.presets},
                  {"cells", Json::array()}};
  COLDPRESS_ASSIGN_OR_RETURN(
      bench.matrix["cells"],
      earlier_cells(fs::path(options.press.out) / "matrix.json", bench.matrix));
  for (const std::string& preset : options.presets) {
    for (const std::string& method : options.methods) {
      if (bench.find(preset, method) != nullptr) continue;
      COLDPRESS_ASSIGN_OR_RETURN(Json cell, bench.run_cell(preset, method));
      bench.matrix["cells"].push_back(std::move(cell));
      COLDPRESS_RETURN_IF_ERROR(bench.save());
    }
  }
  COLDPRESS_RETURN_IF_ERROR(bench.save());
  if (options.press.json) {
    std::cout << bench.matrix.dump(2) << "\n";
  } else {
    print_table(bench);
  }
  return {};
}

}  // namespace

void add_bench_matrix(CLI::App& bench, Run& run) {
  CLI::App* verb = bench.add_subcommand(
      "matrix", "Perplexity of a model pressed by every method under every preset");
  auto options = std::make_shared<Options>();
  for (const Preset& preset : presets()) options->presets.emplace_back(preset.name);
  verb->add_option("MODEL", options->press.model, "Hugging Face folder or .gguf file")->required();
  verb->add_option("--presets", options->presets, "Of quantize --preset")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--methods", options->methods, "Of quantize --method")
      ->delimiter(',')
      ->capture_default_str();
  add_calibration_options(*verb, options->press);
  verb->add_option("--text", options->text, "Text to evaluate, or a name known to fetch")
      ->required();
  verb->add_option("--protocol", options->protocol, "gptq-2048 or llama.cpp-512")->required();
  verb->add_option("--windows", options->windows, "Only the first so many windows (default: all)")
      ->check(CLI::PositiveNumber);
  verb->add_option("--effort", options->press.recipe.solver.effort, "Of admm-q, 1 to 5")
      ->check(CLI::Range(1, 5))
      ->capture_default_str();
  verb->add_option("-o,--out", options->press.out,
                   "Folder of matrix.json and matrix.html; what is there already is not done again")
      ->required();
  verb->add_option("--threads", options->press.threads, "Threads (default: all cores)")
      ->check(CLI::PositiveNumber);
  verb->add_flag("--json", options->press.json, "Print JSON for machines");
  verb->callback([options, &run] { run = [options] { return run_matrix(*options); }; });
}

}  // namespace coldpress::cli
