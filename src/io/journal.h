// An append-only file of records that survives the end of the process at any instant: what was
// flushed is read back whole, and a record that was not written to its end is as if it had never
// been begun. One writer at a time (io/file_lock.h).
//
//   file    "cpjrnl01", records
//   record  length of the payload (u64), checksum (u64), payload
//
// The checksum is XXH3-64 of length and payload. Numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"

namespace coldpress {

class Journal {
 public:
  struct Record {
    uint64_t offset;  // of the payload in the file
    uint64_t size;
  };
  using Visit = std::function<void(const Record& record, std::span<const std::byte> payload)>;

  // Creates the file where there is none. Shows `visit` every record in order, and cuts off what
  // follows the last whole one. A file that is no journal is an error.
  static Result<Journal> open(const std::filesystem::path& path, const Visit& visit);
  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;
  ~Journal();

  // Durable after flush(). After an error nothing more can be appended.
  Result<Record> append(std::span<const std::byte> payload);
  Status flush();
  // Checked again.
  Result<std::vector<std::byte>> read(const Record& record) const;

  const std::filesystem::path& path() const;

 private:
  struct State;
  explicit Journal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
