// Options that several verbs have, each defined once.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/dtype.h"
#include "grid/grid.h"

namespace coldpress::cli {

// f16, bf16 or f32.
CLI::Option* add_float_type_option(CLI::App& verb, const std::string& name,
                                   const std::string& description, std::function<void(DType)> set);
// --clip, --scale-type and --symmetric.
void add_range_options(CLI::App& verb, GridOptions& grid);
// --tokenizer-pre.
void add_tokenizer_pre_option(CLI::App& verb, std::string& name);

}  // namespace coldpress::cli
