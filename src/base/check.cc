#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace coldpress {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "coldpress: internal error at %s:%d: %s does not hold\n", file, line,
               condition);
  std::abort();
}

}  // namespace coldpress
