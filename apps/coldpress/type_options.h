// The options that choose GGUF types by llama.cpp's mixes.
#pragma once

#include <string>
#include <vector>

#include "export/gguf_mix.h"
#include "io/json_type.h"
#include "verbs.h"

namespace coldpress::cli {

struct TypeOptions {
  MixOptions mix;  // mix.mix is empty: --type was not given
};

// Adds --type and what goes with it to a verb with a required --bits: either of the two is required
// now. Bad names are usage errors.
void add_type_options(CLI::App& verb, TypeOptions& options);

// The choices as a table and its sums, and as JSON.
void print_types(const std::string& mix, const std::vector<TensorTypeChoice>& choices);
Json types_to_json(const std::string& mix, const std::vector<TensorTypeChoice>& choices);

}  // namespace coldpress::cli
