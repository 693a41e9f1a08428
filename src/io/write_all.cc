#include "io/write_all.h"

#include <sys/types.h>

#include <cerrno>

#include "io/os.h"
#include "io/system_error.h"

namespace coldpress {

Status write_all(int fd, uint64_t offset, std::span<const std::byte> bytes,
                 const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = os::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (n < 0) return system_error("write", path, errno);
    if (n == 0) return system_error("write", path, ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

}  // namespace coldpress
