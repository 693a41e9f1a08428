// Runs a function in a process of its own, for third-party interpreters of programs that come with
// a model: whatever such a program does (endless loops or recursion, all memory), this process goes
// on.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"

namespace coldpress {

// The text that `work` returned in a child process. An error, as the end of a sentence ("ran longer
// than ..."), if the child died, took more than 10 seconds or 1 GiB, or made more than 64 MiB.
Result<std::string> run_isolated(const std::function<std::string()>& work);

}  // namespace coldpress
