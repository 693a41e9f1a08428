// A file that one process at a time may hold; the system lets go of it when the process ends,
// however it ends.
#pragma once

#include <filesystem>
#include <optional>

#include "base/status.h"

namespace coldpress {

class FileLock {
 public:
  // Creates the file where there is none. Nothing: another process holds it.
  static Result<std::optional<FileLock>> try_acquire(const std::filesystem::path& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  // False once the file has been removed, by the process that held it before.
  bool is_in_place() const;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace coldpress
