// TOML as JSON, so that the rest of the program knows one tree. toml++ is used here alone.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// Tables are objects. Dates, infinities and NaN are refused. `where` names the source in errors,
// which tell the line.
Result<Json> parse_toml(std::string_view text, const std::string& where);

// An object of scalars, arrays of scalars and objects of such, as TOML: scalars first, then tables.
// Nulls are left out. parse_toml gives it back.
std::string to_toml(const Json& object);

}  // namespace coldpress
