// JSON with coldpress's errors. nlohmann::json is used throughout; this is the one place that
// parses untrusted text (bounded nesting, no exceptions escape).
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// Nesting deeper than 200 is refused. `where` names the source in errors.
Result<Json> parse_json(std::string_view text, const std::string& where);
Result<Json> read_json_file(const std::filesystem::path& path);

}  // namespace coldpress
