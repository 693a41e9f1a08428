// Where each tensor of a file being written goes, and which of them are there: what the writers of
// GGUF and safetensors have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "io/file.h"

namespace coldpress {

class TensorSlots {
 public:
  // `where` starts every error: the file.
  explicit TensorSlots(std::string where) : where_(std::move(where)) {}

  // `offset`: from the start of the file, or of what move() moves. An error if the name is taken.
  Status declare(const std::string& name, uint64_t offset, uint64_t size);
  void move(uint64_t by);

  // Each declared tensor once, with as many bytes as declared.
  Status write(const std::string& name, std::span<const std::byte> data, AtomicFile& file);
  // An error that names the first declared tensor that was not written.
  Status check_complete() const;

  const std::string& where() const { return where_; }

 private:
  struct Slot {
    uint64_t offset = 0;
    uint64_t size = 0;
    bool written = false;
  };
  std::string where_;
  std::vector<std::string> names_;  // in declared order
  std::unordered_map<std::string, Slot> slots_;
};

}  // namespace coldpress
