// Files as this program uses them: mapped for reading; written under a temporary name and given
// their final name only when complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace coldpress {

// A whole file mapped read-only. Movable; the bytes stay valid while the object lives.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::filesystem::path path_;
};

// A file read from its beginning, for what should not be in memory whole.
class InputFile {
 public:
  static Result<InputFile> open(const std::filesystem::path& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  // The next bytes, as many as there is room for; fewer only at the end. How many there were.
  Result<std::size_t> read(std::span<std::byte> into);

 private:
  InputFile() = default;
  int fd_ = -1;
  std::filesystem::path path_;
};

// Writes PATH.part (same folder, unique name), then renames it to `path` in commit(). Without a
// successful commit the destructor removes the partial file. Every failure (no space, no
// permission) is a Status that names the path.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Status append(std::span<const std::byte> bytes);
  Status append(std::string_view text);
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);  // may leave holes (zeros)
  Status resize(uint64_t size);  // reserves the space on disk where the file system can
  const std::filesystem::path& work_path() const;  // where the bytes are meanwhile
  Status commit();                                 // flush to disk, rename, flush the folder

 private:
  struct State;
  explicit AtomicFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A folder that appears under its final name only when complete: files are written into
// PATH.part-<random>/ and the folder is renamed in commit(). An existing non-empty `path` is
// refused at create(). Without commit the destructor removes the partial folder.
class AtomicFolder {
 public:
  static Result<AtomicFolder> create(const std::filesystem::path& path);
  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&& other) noexcept;
  ~AtomicFolder();

  const std::filesystem::path& work_path() const;  // where to write meanwhile
  Status commit();

 private:
  struct State;
  explicit AtomicFolder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Removes what runs of this host that are no more left of AtomicFile and AtomicFolder under `path`.
void remove_stale_parts(const std::filesystem::path& path);
// "out/" and "out" are the same output.
std::filesystem::path without_trailing_slash(std::filesystem::path path);

// A file or an empty folder; one that cannot be removed stays.
void remove_file(const std::filesystem::path& path);

// XXH3-128 of the content (base/hash.h), read through a small buffer.
Result<std::string> hash_file(const std::filesystem::path& path);
// What a user without privileges may still write where `folder` is.
Result<uint64_t> free_bytes(const std::filesystem::path& folder);

Result<std::string> read_text_file(const std::filesystem::path& path);
Status write_text_file(const std::filesystem::path& path, std::string_view text);  // atomic
// Renames a complete file or folder within a file system and flushes the folder it is in; a file
// `to` is replaced. After an error it is not under the new name.
Status move_file(const std::filesystem::path& from, const std::filesystem::path& to);
// Byte-for-byte copy, flushed.
Status copy_file_exact(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace coldpress
