#include "io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "io/os.h"
#include "io/system_error.h"

namespace coldpress {

Result<std::optional<FileLock>> FileLock::try_acquire(const std::filesystem::path& path) {
  const int fd = os::open(path.c_str(), O_RDWR | O_CREAT, 0666);
  if (fd < 0) return system_error("open", path, errno);
  FileLock lock(fd);
  int result = 0;
  do {
    result = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return std::optional<FileLock>(std::move(lock));
  if (errno == EWOULDBLOCK) return std::optional<FileLock>();
  return system_error("lock", path, errno);
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) os::close(fd_);
}

bool FileLock::is_in_place() const {
  struct stat info = {};
  return ::fstat(fd_, &info) == 0 && info.st_nlink > 0;
}

}  // namespace coldpress
