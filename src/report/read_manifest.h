// The manifest that a pressed model carries.
#pragma once

#include <filesystem>
#include <optional>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// From coldpress.json in a folder, or from a GGUF file's metadata or the file beside it. Nothing if
// the model has none.
Result<std::optional<Json>> read_manifest(const std::filesystem::path& model);

}  // namespace coldpress
