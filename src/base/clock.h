// Time that only goes forward.
#pragma once

#include <chrono>

namespace coldpress {

// Seconds since some fixed moment: only differences mean anything.
inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace coldpress
