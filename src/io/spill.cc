#include "io/spill.h"

#include <fmt/format.h>
#include <sys/mman.h>

#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "io/file.h"
#include "io/os.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

Status cannot(std::size_t bytes, const fs::path& folder, int error) {
  return io_error(fmt::format("cannot spill {} bytes into {}: {}; choose another --work-dir", bytes,
                              folder.string(), std::strerror(error)));
}

bool is_in_memory(const fs::path& folder) {
#ifdef __linux__
  struct statfs info = {};
  return ::statfs(folder.c_str(), &info) == 0 &&
         (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
#else
  (void)folder;
  return false;
#endif
}

// An open file of `bytes` zeros without a name; -1 with errno set.
int open_zeros(const fs::path& folder, std::size_t bytes) {
  const int fd = os::open_nameless(folder.c_str());
  if (fd < 0) return -1;
  if (os::reserve(fd, bytes) == 0 && os::truncate(fd, bytes) == 0) return fd;
  const int error = errno;
  os::close(fd);
  errno = error;
  return -1;
}

}  // namespace

Result<SpillFolder> SpillFolder::open(const fs::path& folder, uint64_t bytes) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return not_found(fmt::format(
        "the folder {} to spill into does not exist; create it or choose another --work-dir",
        folder.string()));
  }
  if (is_in_memory(folder)) {
    return invalid_argument(
        fmt::format("{} is itself in memory, so that spilling into it would save none; choose a "
                    "folder on a disk with --work-dir",
                    folder.string()));
  }
  const Result<uint64_t> free = free_bytes(folder);
  if (free.ok() && *free < bytes) {
    return io_error(fmt::format(
        "{} bytes will be spilled into {}, where only {} are free; free some space or choose "
        "another --work-dir",
        bytes, folder.string(), *free));
  }
  return SpillFolder(folder);
}

Result<void*> SpillFolder::map(std::size_t bytes) const {
  const int fd = open_zeros(folder_, bytes);
  if (fd < 0) return cannot(bytes, folder_, errno);
  void* pages = os::map_shared(fd, bytes);
  const int error = errno;
  os::close(fd);
  if (pages == MAP_FAILED) return cannot(bytes, folder_, error);
  return pages;
}

}  // namespace coldpress
