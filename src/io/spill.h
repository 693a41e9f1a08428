// Memory on disk, for buffers that may be larger than what a process may hold: pages of files that
// have no name, which the system writes out and takes back when memory is short. Values are the
// same as in any other memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>

#include "base/memory.h"
#include "base/status.h"

namespace coldpress {

class SpillFolder final : public Memory {
 public:
  // `folder` exists, is on a disk (a folder in memory would save none) and has room for `bytes`.
  // Nothing of it is seen there, and nothing stays, however the process ends.
  static Result<SpillFolder> open(const std::filesystem::path& folder, uint64_t bytes);

  // Reserves its space on disk, where the file system can, so that a full one is an error here.
  Result<void*> map(std::size_t bytes) const override;

 private:
  explicit SpillFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

}  // namespace coldpress
