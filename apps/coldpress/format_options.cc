#include "format_options.h"

#include <string>
#include <vector>

#include "export/table.h"

namespace coldpress::cli {

void add_format_options(CLI::App& verb, PressOptions& options) {
  verb.add_option_function<std::string>(
          "--format",
          [&options](const std::string& text) {
            options.recipe.code_format = text == "dense" ? "" : text;
            if (text == "dense") return;
            const Result<const ExportFormat*> format = find_code_format(text);
            if (!format.ok()) throw CLI::ValidationError("--format", format.status().message());
          },
          "How a folder stores linears: dense, or codes as compressed-tensors, gptq, gptq-v2 or "
          "int-quantized")
      ->type_name("FORMAT")
      ->default_str("dense");
  verb.add_flag("--quantize-head", options.recipe.quantise_head,
                "The head too, where it is no table of embeddings");
  verb.add_option("--target", options.target.loader,
                  "Refuse what this runtime does not load: vllm, transformers or llama.cpp")
      ->check(CLI::IsMember(
          std::vector<std::string>(std::begin(kTargetLoaders), std::end(kTargetLoaders))));
  verb.add_option("--tp", options.target.tensor_parallel,
                  "Devices among which the target cuts every layer")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

void note_given_types(const CLI::App& verb, PressOptions& options) {
  options.given.dense = verb.get_option("--dense-type")->count() > 0;
  options.given.scale = verb.get_option("--scale-type")->count() > 0;
}

}  // namespace coldpress::cli
