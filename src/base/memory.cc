#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace coldpress {
namespace {

class MainMemory final : public Memory {
 public:
  Result<void*> map(std::size_t bytes) const override {
    void* pages =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages != MAP_FAILED) return pages;
    return io_error("cannot get " + std::to_string(bytes) +
                    " bytes of memory: " + std::strerror(errno));
  }
};

// madvise() on the whole pages that hold `bytes` from `data` on. A hint that fails is no hint.
void advise(const void* data, std::size_t bytes, int advice) {
  if (bytes == 0) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(data) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(data) + bytes;
  (void)::madvise(reinterpret_cast<void*>(first), end - first, advice);
}

}  // namespace

const Memory& main_memory() {
  static const MainMemory memory;
  return memory;
}

void unmap_pages(void* pages, std::size_t bytes) { ::munmap(pages, bytes); }

void will_need(const void* data, std::size_t bytes) { advise(data, bytes, MADV_WILLNEED); }

void will_not_need(const void* data, std::size_t bytes) {
#ifdef MADV_COLD
  advise(data, bytes, MADV_COLD);
#else
  (void)data;
  (void)bytes;
#endif
}

void drop_mapped(const void* data, std::size_t bytes) { advise(data, bytes, MADV_DONTNEED); }

void trim_heap() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

void keep_heap_small() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
#endif
}

}  // namespace coldpress
