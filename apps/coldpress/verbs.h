// The command line's verbs. Each lives in its own file, adds one subcommand to the app, and sets
// `run` when the user asked for it; main.cc then runs it and turns its Status into an exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/status.h"

namespace coldpress::cli {

using Run = std::function<Status()>;

// A subcommand whose --help starts with `examples` (one command per line, no indentation).
CLI::App* add_verb(CLI::App& app, const std::string& name, const std::string& summary,
                   const std::string& examples);

void add_bench(CLI::App& app, Run& run);
void add_convert(CLI::App& app, Run& run);
void add_eval(CLI::App& app, Run& run);
void add_fetch(CLI::App& app, Run& run);
void add_imatrix(CLI::App& app, Run& run);
void add_inspect(CLI::App& app, Run& run);
void add_plan(CLI::App& app, Run& run);
void add_quantize(CLI::App& app, Run& run);

}  // namespace coldpress::cli
