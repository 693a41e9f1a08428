#include "common_options.h"

#include <utility>

namespace coldpress::cli {

CLI::Option* add_float_type_option(CLI::App& verb, const std::string& name,
                                   const std::string& description, std::function<void(DType)> set) {
  return verb
      .add_option_function<std::string>(
          name,
          [set = std::move(set)](const std::string& text) {
            set(text == "f32" ? DType::kF32 : text == "bf16" ? DType::kBF16 : DType::kF16);
          },
          description)
      ->check(CLI::IsMember({"f16", "bf16", "f32"}));
}

void add_range_options(CLI::App& verb, GridOptions& grid) {
  verb.add_option_function<std::string>(
          "--clip",
          [&grid](const std::string& text) {
            grid.clip = text == "none" ? Clip::kNone : Clip::kHessian;
          },
          "Range of a group: shrunk to suit its inputs, or minimum to maximum")
      ->check(CLI::IsMember({"hessian", "none"}))
      ->default_str("hessian");
  add_float_type_option(verb, "--scale-type", "Type that scales are rounded to and counted in",
                        [&grid](DType type) { grid.scale_type = type; })
      ->default_str("f16");
  verb.add_flag("--symmetric", grid.symmetric, "Fix the zero at the middle code");
}

void add_tokenizer_pre_option(CLI::App& verb, std::string& name) {
  verb.add_option("--tokenizer-pre", name,
                  "Pre-tokenizer, by llama.cpp's name, of a model whose own is not known");
}

}  // namespace coldpress::cli
