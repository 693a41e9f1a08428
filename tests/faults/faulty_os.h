// io/os.h as a test wants it: the system's own calls, but for one that fails.
#pragma once

#include <cstdint>

namespace coldpress::test {

enum class Call {
  kOpen,    // of a file or folder that is there
  kRead,    // read, pread
  kMap,     // map, map_shared
  kCreate,  // of a file, a folder or a file without a name
  kWrite,   // pwrite, reserve, truncate
  kSync,
  kRename,
  kRemove,
  kFreeSpace,
};

// From now on the n-th call of this kind (from 1) fails with `error`, an errno; none with n = 0.
void fail_call(Call call, int64_t n, int error);
// Whether it has come to that.
bool has_failed();

}  // namespace coldpress::test
