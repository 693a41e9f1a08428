// The name of our JSON type without its definition, which is slow to compile: for headers. Whoever
// looks into a value includes io/json.h.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace coldpress {

using Json = nlohmann::ordered_json;

}  // namespace coldpress
