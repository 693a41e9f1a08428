#include "io/spill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

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
int open_nameless(const fs::path& folder, std::size_t bytes) {
  std::string name = (folder / ".coldpress-spill-XXXXXX").string();
  const int fd = ::mkstemp(name.data());
  if (fd < 0) return -1;
  ::unlink(name.c_str());
  int error = 0;
#ifdef __linux__
  if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) != 0) error = errno;
  if (error == EOPNOTSUPP) error = 0;
#endif
  if (error == 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) error = errno;
  if (error == 0) return fd;
  ::close(fd);
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
  const fs::space_info space = fs::space(folder, error);
  if (!error && space.available < bytes) {
    return io_error(fmt::format(
        "{} bytes will be spilled into {}, where only {} are free; free some space or choose "
        "another --work-dir",
        bytes, folder.string(), space.available));
  }
  return SpillFolder(folder);
}

Result<void*> SpillFolder::map(std::size_t bytes) const {
  const int fd = open_nameless(folder_, bytes);
  if (fd < 0) return cannot(bytes, folder_, errno);
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);
  if (pages == MAP_FAILED) return cannot(bytes, folder_, error);
  return pages;
}

}  // namespace coldpress
