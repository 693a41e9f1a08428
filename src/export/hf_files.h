// The files of a Hugging Face folder beside its weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>

#include "base/dtype.h"
#include "base/status.h"

namespace coldpress {

inline constexpr char kManifestFile[] = "coldpress.json";
inline constexpr char kManifestKey[] = "coldpress.manifest";  // of GGUF metadata

// Copies the regular files at the top level of `source` into `target` byte for byte, except weights
// of any format, their index, and an older manifest. In config.json the value of "dtype" or
// "torch_dtype" becomes `dense_type` where it differs.
Status copy_hf_sidecars(const std::filesystem::path& source, const std::filesystem::path& target,
                        DType dense_type);

// config.json's text with that one value edited.
std::string with_dtype(std::string config, DType dense_type);

// Copies the index of sharded weights, with their new size in bytes.
Status copy_hf_index(const std::filesystem::path& source, const std::filesystem::path& target,
                     uint64_t total_bytes);

}  // namespace coldpress
