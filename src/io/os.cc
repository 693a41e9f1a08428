#include "io/os.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace coldpress::os {
namespace {

template <typename Call>
auto again(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

int open(const char* path, int flags, mode_t mode) {
  return again([&] { return ::open(path, flags | O_CLOEXEC, mode); });
}

int close(int fd) { return ::close(fd); }

ssize_t read(int fd, void* into, std::size_t size) {
  return again([&] { return ::read(fd, into, size); });
}

ssize_t pread(int fd, void* into, std::size_t size, uint64_t offset) {
  return again([&] { return ::pread(fd, into, size, static_cast<off_t>(offset)); });
}

ssize_t pwrite(int fd, const void* from, std::size_t size, uint64_t offset) {
  return again([&] { return ::pwrite(fd, from, size, static_cast<off_t>(offset)); });
}

int reserve(int fd, uint64_t size) {
#ifdef __linux__
  // Not posix_fallocate: where the file system cannot reserve, that one writes every block instead.
  if (size > 0 && again([&] { return ::fallocate(fd, 0, 0, static_cast<off_t>(size)); }) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)) {
    return -1;
  }
#endif
  return 0;
}

int truncate(int fd, uint64_t size) {
  return again([&] { return ::ftruncate(fd, static_cast<off_t>(size)); });
}

int sync(int fd) {
  return again([&] { return ::fsync(fd); });
}

void* map(int fd, std::size_t size) { return ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0); }

void unmap(void* data, std::size_t size) { ::munmap(data, size); }

int rename(const char* from, const char* to) { return ::rename(from, to); }

int make_folder(const char* path) { return ::mkdir(path, 0777); }

int remove(const char* path) { return ::remove(path); }

int free_space(const char* folder, uint64_t* bytes) {
  struct statvfs info = {};
  if (again([&] { return ::statvfs(folder, &info); }) != 0) return -1;
  *bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  return 0;
}

int open_nameless(const char* folder) {
  std::string name = std::string(folder) + "/.coldpress-XXXXXX";
  const int fd = again([&] { return ::mkostemp(name.data(), O_CLOEXEC); });
  if (fd >= 0) ::unlink(name.c_str());
  return fd;
}

void* map_shared(int fd, std::size_t size) {
  return ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

}  // namespace coldpress::os
