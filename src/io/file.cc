#include "io/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "io/os.h"
#include "io/system_error.h"
#include "io/write_all.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
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

// Makes a rename durable. File systems that cannot flush a folder say EINVAL: nothing to do then.
Status flush_folder(const fs::path& folder) {
  const int fd = os::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return system_error("open the folder", folder, errno);
  const int result = os::sync(fd);
  const int error = errno;
  os::close(fd);
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

}  // namespace

fs::path without_trailing_slash(fs::path path) {
  while (!path.has_filename() && path.has_parent_path() && path != path.root_path()) {
    path = path.parent_path();
  }
  return path;
}

Result<MappedFile> MappedFile::open(const fs::path& path) {
  // Non-blocking, so that opening a pipe nobody writes to does not hang.
  const int fd = os::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  if (fd < 0) return system_error("open", path, errno);
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    os::close(fd);
    return system_error("open", path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    os::close(fd);
    return invalid_argument(fmt::format("cannot read {}: it is {}, not a file", path.string(),
                                        S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe"));
  }
  MappedFile file;
  file.path_ = path;
  file.size_ = static_cast<std::size_t>(info.st_size);
  if (file.size_ > 0) {
    void* data = os::map(fd, file.size_);
    if (data == MAP_FAILED) {
      const int error = errno;
      os::close(fd);
      return system_error("map", path, error);
    }
    file.data_ = static_cast<const std::byte*>(data);
  }
  os::close(fd);
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
  if (data_ != nullptr) os::unmap(const_cast<std::byte*>(data_), size_);
}

struct AtomicFile::State {
  fs::path path;
  fs::path part;
  int fd = -1;
  uint64_t end = 0;  // where append() continues
  bool committed = false;

  ~State() {
    if (fd >= 0) os::close(fd);
    if (!committed) remove_file(part);
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
                               fd = os::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666);
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
  // A full disk is found now rather than hours later.
  if (os::reserve(state_->fd, size) != 0 || os::truncate(state_->fd, size) != 0) {
    return system_error(fmt::format("reserve {} bytes for", size), state_->path, errno);
  }
  return {};
}

const fs::path& AtomicFile::work_path() const { return state_->part; }

Status AtomicFile::commit() {
  COLDPRESS_CHECK(state_ != nullptr && !state_->committed);
  State& s = *state_;
  if (os::sync(s.fd) != 0) return system_error("flush", s.path, errno);
  // Some file systems report a failed write only here.
  if (os::close(std::exchange(s.fd, -1)) != 0) return system_error("write", s.path, errno);
  COLDPRESS_RETURN_IF_ERROR(move_file(s.part, s.path));
  s.committed = true;
  return {};
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
                               return os::make_folder(name.c_str()) == 0;
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
  COLDPRESS_RETURN_IF_ERROR(move_file(s.part, s.path));
  s.committed = true;
  return {};
}

void remove_stale_parts(const fs::path& given) {
  const fs::path path = without_trailing_slash(given);
  const std::string prefix = path.filename().string() + ".part-";
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(path), error)) {
    const std::string name = entry.path().filename().string();
    int process = 0;
    int n = 0;
    int length = 0;
    if (!name.starts_with(prefix) ||
        std::sscanf(name.c_str() + prefix.size(), "%d-%d%n", &process, &n, &length) != 2 ||
        prefix.size() + static_cast<std::size_t>(length) != name.size() || process <= 0) {
      continue;
    }
    if (process != ::getpid() && ::kill(process, 0) != 0 && errno == ESRCH) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
    }
  }
}

Result<InputFile> InputFile::open(const fs::path& path) {
  InputFile file;
  file.path_ = path;
  file.fd_ = os::open(path.c_str(), O_RDONLY);
  if (file.fd_ < 0) return system_error("open", path, errno);
  return file;
}

InputFile::InputFile(InputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) os::close(fd_);
}

Result<std::size_t> InputFile::read(std::span<std::byte> into) {
  std::size_t filled = 0;
  while (filled < into.size()) {
    const ssize_t n = os::read(fd_, into.data() + filled, into.size() - filled);
    if (n < 0) return system_error("read", path_, errno);
    if (n == 0) break;
    filled += static_cast<std::size_t>(n);
  }
  return filled;
}

namespace {

// Hands the content on in pieces.
template <typename Take>
Status read_pieces(const fs::path& path, Take take) {
  COLDPRESS_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  std::vector<std::byte> buffer(1 << 18);
  for (;;) {
    COLDPRESS_ASSIGN_OR_RETURN(const std::size_t n, file.read(buffer));
    if (n == 0) return {};
    take(std::span<const std::byte>(buffer).first(n));
  }
}

}  // namespace

void remove_file(const fs::path& path) { os::remove(path.c_str()); }

Result<std::string> hash_file(const fs::path& path) {
  Xxh3Stream hash;
  COLDPRESS_RETURN_IF_ERROR(
      read_pieces(path, [&](std::span<const std::byte> piece) { hash.add(piece); }));
  return hash.hex();
}

Result<uint64_t> free_bytes(const fs::path& folder) {
  uint64_t bytes = 0;
  if (os::free_space(folder.c_str(), &bytes) != 0) {
    return system_error("look for space in", folder, errno);
  }
  return bytes;
}

Result<std::string> read_text_file(const fs::path& path) {
  std::string text;
  COLDPRESS_RETURN_IF_ERROR(read_pieces(path, [&](std::span<const std::byte> piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }));
  return text;
}

Status write_text_file(const fs::path& path, std::string_view text) {
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  COLDPRESS_RETURN_IF_ERROR(file.append(text));
  return file.commit();
}

Status move_file(const fs::path& from, const fs::path& to) {
  if (os::rename(from.c_str(), to.c_str()) != 0) return system_error("create", to, errno);
  const Status flushed = flush_folder(folder_of(to));
  // What may be gone after a power cut is not there now either.
  if (!flushed.ok()) os::rename(to.c_str(), from.c_str());
  return flushed;
}

Status copy_file_exact(const fs::path& from, const fs::path& to) {
  COLDPRESS_ASSIGN_OR_RETURN(MappedFile source, MappedFile::open(from));
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFile target, AtomicFile::create(to));
  COLDPRESS_RETURN_IF_ERROR(target.append(source.bytes()));
  return target.commit();
}

}  // namespace coldpress
