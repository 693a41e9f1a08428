// Options of the verbs that write a model.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace coldpress::cli {

// --split-max-size, in bytes; `bytes` stays as it is where the option is not given.
void add_split_option(CLI::App& verb, uint64_t& bytes);

// --shard-size likewise.
void add_shard_option(CLI::App& verb, uint64_t& bytes);

// --max-ram likewise.
void add_max_ram_option(CLI::App& verb, uint64_t& bytes);

}  // namespace coldpress::cli
