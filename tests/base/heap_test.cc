#include <gtest/gtest.h>

#include <vector>

#include "base/memory.h"
#include "base/peak_memory.h"
#include "tests/sanitizers.h"

namespace coldpress {
namespace {

// Small blocks that stay between large ones that go would keep all of their pages.
TEST(Heap, LargeBlocksGoBackToTheSystem) {
  if (kAddressSanitizer || kThreadSanitizer) GTEST_SKIP() << "a sanitizer has the heap";
  if (anonymous_bytes() == 0) GTEST_SKIP() << "the system does not tell";
  keep_heap_small();
  std::vector<char>(16 << 20, 1);  // freeing it would raise the C library's limit to its size
  const int64_t before = anonymous_bytes();
  std::vector<std::vector<char>> small;
  {
    std::vector<std::vector<char>> large;
    for (int i = 0; i < 100; ++i) {
      large.emplace_back(1 << 20, 1);
      small.emplace_back(1 << 10, 1);
    }
  }
  EXPECT_LT(anonymous_bytes() - before, 20 << 20);
}

}  // namespace
}  // namespace coldpress
