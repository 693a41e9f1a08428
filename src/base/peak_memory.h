// What the process has used.
#pragma once

#include <cstdint>

namespace coldpress {

// The most memory it has held so far, mapped pages included.
int64_t peak_rss_bytes();

}  // namespace coldpress
