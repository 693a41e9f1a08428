#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

namespace coldpress {
namespace {

namespace fs = std::filesystem;

// What the system said, and what to do about it where that is clear.
Status system_error(const std::string& action, const fs::path& path, int error) {
  const char* advice = "";
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      advice = "; free some space or choose another place";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      advice = "; check the permissions or choose another place";
      break;
    case EFBIG:
      advice = "; the file system or a limit of this user does not allow files this large";
      break;
    default:
      break;
  }
  const std::string message =
      fmt::format("cannot {} {}: {}{}", action, path.string(), std::strerror(error), advice);
  return {error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound : StatusCode::kIo, message};
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

// "out/" and "out" are the same output.
fs::path without_trailing_slash(fs::path path) {
  while (!path.has_filename() && path.has_parent_path() && path != path.root_path()) {
    path = path.parent_path();
  }
  return path;
}

// The folder that the output goes into must exist: a mistyped path should not create a tree.
Status check_target(const fs::path& path) {
  if (path.filename().empty() || path.filename() == "." || path.filename() == "..") {
    return invalid_argument(fmt::format("cannot write {}: this is not the name of a file or folder",
                                        path.empty() ? "''" : path.string()));
  }
  std::error_code error;
  const fs::path folder = folder_of(path);
  if (!fs::is_directory(folder, error)) {
    return not_found(fmt::format("cannot write {}: the folder {} does not exist; create it first",
                                 path.string(), folder.string()));
  }
  return {};
}

int open_retry(const char* path, int flags, mode_t mode = 0) {
  int fd = -1;
  do {
    fd = ::open(path, flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

// Makes a rename durable. File systems that cannot flush a folder say EINVAL: nothing to do then.
Status flush_folder(const fs::path& folder) {
  const int fd = open_retry(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return system_error("open the folder", folder, errno);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0 && error != EINVAL) return system_error("flush the folder", folder, error);
  return {};
}

// PATH.part-<process>-<n>, created by `create` which returns false with errno set.
template <typename Create>
Result<fs::path> create_part(const fs::path& path, const char* kind, Create create) {
  for (int n = 0;; ++n) {
    fs::path part = path;
    part += fmt::format(".part-{}-{}", ::getpid(), n);
    if (create(part)) return part;
    if (errno != EEXIST || n == 10000) return system_error(kind, path, errno);
  }
}

Status write_all(int fd, uint64_t offset, std::span<const std::byte> bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error("write", path, errno);
    }
    if (n == 0) return system_error("write", path, ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

}  // namespace

Result<MappedFile> MappedFile::open(const fs::path& path) {
  // Non-blocking, so that opening a pipe nobody writes to does not hang.
  const int fd = open_retry(path.c_str(), O_RDONLY | O_NONBLOCK);
  if (fd < 0) return system_error("open", path, errno);
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return system_error("open", path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return invalid_argument(fmt::format("cannot read {}: it is {}, not a file", path.string(),
                                        S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe"));
  }
  MappedFile file;
  file.path_ = path;
  file.size_ = static_cast<std::size_t>(info.st_size);
  if (file.size_ > 0) {
    void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      ::close(fd);
      return system_error("map", path, error);
    }
    file.data_ = static_cast<const std::byte*>(data);
  }
  ::close(fd);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

struct AtomicFile::State {
  fs::path path;
  fs::path part;
  int fd = -1;
  uint64_t end = 0;  // where append() continues
  bool committed = false;

  ~State() {
    if (fd >= 0) ::close(fd);
    if (!committed) ::unlink(part.c_str());
  }
};

AtomicFile::AtomicFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFile::AtomicFile(AtomicFile&& other) noexcept = default;
AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept = default;
AtomicFile::~AtomicFile() = default;

Result<AtomicFile> AtomicFile::create(const fs::path& path) {
  COLDPRESS_RETURN_IF_ERROR(check_target(path));
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return invalid_argument(fmt::format("cannot write {}: it is a folder", path.string()));
  }
  int fd = -1;
  COLDPRESS_ASSIGN_OR_RETURN(fs::path part, create_part(path, "create", [&](const fs::path& name) {
                               fd = open_retry(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666);
                               return fd >= 0;
                             }));
  auto state = std::make_unique<State>();
  state->path = path;
  state->part = std::move(part);
  state->fd = fd;
  return AtomicFile(std::move(state));
}

Status AtomicFile::append(std::span<const std::byte> bytes) {
  COLDPRESS_CHECK(state_ != nullptr && !state_->committed);
  COLDPRESS_RETURN_IF_ERROR(write_all(state_->fd, state_->end, bytes, state_->path));
  state_->end += bytes.size();
  return {};
}

Status AtomicFile::append(std::string_view text) {
  return append(std::as_bytes(std::span(text.data(), text.size())));
}

Status AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  COLDPRESS_CHECK(state_ != nullptr && !state_->committed);
  return write_all(state_->fd, offset, bytes, state_->path);
}

Status AtomicFile::resize(uint64_t size) {
  COLDPRESS_CHECK(state_ != nullptr && !state_->committed);
  if (size > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    return system_error("reserve space for", state_->path, EFBIG);
  }
  const auto length = static_cast<off_t>(size);
#ifdef __linux__
  // A full disk is found now rather than hours later. Not posix_fallocate: where the file system
  // cannot reserve, that one writes every block instead.
  if (length > 0 && ::fallocate(state_->fd, 0, 0, length) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)) {
    return system_error(fmt::format("reserve {} bytes for", size), state_->path, errno);
  }
#endif
  if (::ftruncate(state_->fd, length) != 0) {
    return system_error(fmt::format("reserve {} bytes for", size), state_->path, errno);
  }
  return {};
}

const fs::path& AtomicFile::work_path() const { return state_->part; }

Status AtomicFile::commit() {
  COLDPRESS_CHECK(state_ != nullptr && !state_->committed);
  State& s = *state_;
  if (::fsync(s.fd) != 0) return system_error("flush", s.path, errno);
  // Some file systems report a failed write only here.
  if (::close(std::exchange(s.fd, -1)) != 0) return system_error("write", s.path, errno);
  if (::rename(s.part.c_str(), s.path.c_str()) != 0) return system_error("create", s.path, errno);
  s.committed = true;
  return flush_folder(folder_of(s.path));
}

struct AtomicFolder::State {
  fs::path path;
  fs::path part;
  bool committed = false;

  ~State() {
    std::error_code ignored;
    if (!committed) fs::remove_all(part, ignored);
  }
};

AtomicFolder::AtomicFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept = default;
AtomicFolder& AtomicFolder::operator=(AtomicFolder&& other) noexcept = default;
AtomicFolder::~AtomicFolder() = default;

Result<AtomicFolder> AtomicFolder::create(const fs::path& given) {
  const fs::path path = without_trailing_slash(given);
  COLDPRESS_RETURN_IF_ERROR(check_target(path));
  std::error_code error;
  const fs::file_status existing = fs::symlink_status(path, error);
  if (fs::exists(existing)) {
    if (!fs::is_directory(existing)) {
      return invalid_argument(
          fmt::format("{} already exists and is not a folder; remove it or choose another name",
                      path.string()));
    }
    if (!fs::is_empty(path, error)) {
      return invalid_argument(fmt::format(
          "{} already exists and is not empty; remove it or choose another name", path.string()));
    }
  }
  COLDPRESS_ASSIGN_OR_RETURN(fs::path part, create_part(path, "create", [](const fs::path& name) {
                               return ::mkdir(name.c_str(), 0777) == 0;
                             }));
  auto state = std::make_unique<State>();
  state->path = path;
  state->part = std::move(part);
  return AtomicFolder(std::move(state));
}

const fs::path& AtomicFolder::work_path() const { return state_->part; }

Status AtomicFolder::commit() {
  COLDPRESS_CHECK(state_ != nullptr && !state_->committed);
  State& s = *state_;
  COLDPRESS_RETURN_IF_ERROR(flush_folder(s.part));
  if (::rename(s.part.c_str(), s.path.c_str()) != 0) return system_error("create", s.path, errno);
  s.committed = true;
  return flush_folder(folder_of(s.path));
}

Result<std::string> read_text_file(const fs::path& path) {
  const int fd = open_retry(path.c_str(), O_RDONLY);
  if (fd < 0) return system_error("open", path, errno);
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      ::close(fd);
      return system_error("read", path, error);
    }
    if (n == 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return text;
}

Status write_text_file(const fs::path& path, std::string_view text) {
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  COLDPRESS_RETURN_IF_ERROR(file.append(text));
  return file.commit();
}

Status move_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return system_error("create", to, errno);
  return flush_folder(folder_of(to));
}

Status copy_file_exact(const fs::path& from, const fs::path& to) {
  COLDPRESS_ASSIGN_OR_RETURN(MappedFile source, MappedFile::open(from));
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile target, AtomicFile::create(to));
  COLDPRESS_RETURN_IF_ERROR(target.append(source.bytes()));
  return target.commit();
}

}  // namespace coldpress
