// Runs other programs, without a shell.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace coldpress::cli {

enum class ChildOutput {
  kCapture,   // kept in ProcessResult::out
  kToStderr,  // shown to the user, when stderr is a terminal; dropped otherwise
};

struct ProcessResult {
  int exit_code = 0;  // 128 + signal if a signal ended it
  std::string out;
  std::string err;
};

// Waits for argv[0] (looked up in PATH) to end. Its stdin is empty. kNotFound if there is no such
// program; a failing program is a value, not an error.
Result<ProcessResult> run_process(const std::vector<std::string>& argv, ChildOutput output);

}  // namespace coldpress::cli
