// COLDPRESS_CHECK: a broken promise inside coldpress itself. Prints where, then aborts.
// Never used on input: bad input is a Status (base/status.h).
#pragma once

namespace coldpress {
[[noreturn]] void check_failed(const char* condition, const char* file, int line);
}  // namespace coldpress

#define COLDPRESS_CHECK(condition)                                               \
  do {                                                                           \
    if (!(condition)) ::coldpress::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
