#include "coldpress/version.h"

namespace coldpress {

std::string version() { return COLDPRESS_VERSION; }

}  // namespace coldpress
