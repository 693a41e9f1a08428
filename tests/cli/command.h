// Runs a program as a user would and keeps what it said.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/io/test_files.h"

namespace coldpress::test {

struct CommandOptions {
  std::vector<std::pair<std::string, std::string>> environment;  // added to this process's own
  std::optional<uint64_t> file_size_limit = std::nullopt;        // bytes: a full disk, in effect
  bool stderr_is_terminal = false;
  std::optional<double> kill_after = std::nullopt;  // seconds: SIGKILL then
};

struct CommandResult {
  int exit_code = -1;  // 128 + signal if a signal ended it
  std::string out;
  std::string err;
};

CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options = {});
CommandResult run_coldpress(std::vector<std::string> arguments, const CommandOptions& options = {});

// Fails the test unless the command ended with `exit_code`, printed nothing to stdout and said
// exactly one line to stderr, "coldpress: ...", that contains each of `parts`.
void expect_refusal(const CommandResult& result, int exit_code,
                    const std::vector<std::string>& parts);

void write_file(const std::filesystem::path& path, const std::string& bytes);

}  // namespace coldpress::test
