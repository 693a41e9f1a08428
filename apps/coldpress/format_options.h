// The options that say what a folder's linears are stored as, and which runtime is to load them.
#pragma once

#include <CLI/CLI.hpp>

#include "press_options.h"

namespace coldpress::cli {

// Adds --format, --quantize-head, --target and --tp to a verb with add_press_options' options.
void add_format_options(CLI::App& verb, PressOptions& options);
// To be called when the line is parsed: notes which types it gives.
void note_given_types(const CLI::App& verb, PressOptions& options);

}  // namespace coldpress::cli
