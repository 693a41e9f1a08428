// What the system said of a file, as a Status.
#pragma once

#include <filesystem>
#include <string>

#include "base/status.h"

namespace coldpress {

// "cannot ACTION PATH: what `error`, an errno, means", and what to do about it where that is clear.
Status system_error(const std::string& action, const std::filesystem::path& path, int error);

}  // namespace coldpress
