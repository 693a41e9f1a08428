// Which coldpress this is.
#pragma once

#include <string>

namespace coldpress {

std::string version();  // "0.1.0"

}  // namespace coldpress
