// Bytes to a place in an open file, all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/status.h"

namespace coldpress {

// The system may take a part at a time. `path` names the file in errors.
Status write_all(int fd, uint64_t offset, std::span<const std::byte> bytes,
                 const std::filesystem::path& path);

}  // namespace coldpress
