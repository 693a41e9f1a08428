// The files of a Hugging Face folder beside its weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/dtype.h"
#include "base/status.h"
#include "io/json_type.h"
#include "model/config.h"

namespace coldpress {

inline constexpr char kManifestFile[] = "coldpress.json";
inline constexpr char kManifestKey[] = "coldpress.manifest";  // of GGUF metadata

// Copies the regular files at the top level of `source` into `target` byte for byte, except weights
// of any format, their index, and an older manifest. In config.json the value of "dtype" or
// "torch_dtype" becomes `dense_type` where it differs.
// `was_packed`: its "quantization_config" is removed, and files that describe the packing are left
// out. What it says of tied embeddings and online parts becomes what `config` says.
Status copy_hf_sidecars(const std::filesystem::path& source, const std::filesystem::path& target,
                        DType dense_type, bool was_packed, const ModelConfig& config);

// Records what runs along with the model in its config.json; nothing if that is nothing.
void put_online_parts(const OnlineParts& online, Json& config);

// config.json's text without what says that the weights are packed.
Result<std::string> without_packing(const std::string& config, const std::string& where);

// config.json's text, which has no "quantization_config", with it added at the end.
Result<std::string> with_packing(std::string config, const Json& settings,
                                 const std::string& where);

// config.json's text with that one value edited.
std::string with_dtype(std::string config, DType dense_type);

inline constexpr char kIndexFile[] = "model.safetensors.index.json";

// An index of sharded weights, for a folder whose source has none.
std::string make_hf_index(uint64_t total_bytes, const std::map<std::string, std::string>& shard_of);
// Copies the index of sharded weights, with their new size in bytes and, where it differs, the new
// place of each tensor (`shard_of`).
Status copy_hf_index(const std::filesystem::path& source, const std::filesystem::path& target,
                     uint64_t total_bytes, const std::map<std::string, std::string>& shard_of);

}  // namespace coldpress
