// A GGUF model in several files, as llama.cpp splits them: NAME-00001-of-00003.gguf and so on, each
// with split.no, split.count and split.tensors.count; all other metadata is in the first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/gguf.h"

namespace coldpress {

inline constexpr int64_t kMostSplits = 65535;  // split.count is 16 bits wide

struct SplitPlace {
  int64_t number = 0;   // from 0
  int64_t count = 1;    // of files
  int64_t tensors = 0;  // in all files together
};

// nullopt: the file is a whole model. `where` names it in errors.
Result<std::optional<SplitPlace>> split_place(const GgufContent& content, const std::string& where);

// NAME-00002-of-00003.gguf for "NAME.gguf" or "NAME", number 1 and count 3.
std::filesystem::path split_path(std::filesystem::path whole, int64_t number, int64_t count);
// The path of another file of the same model; `path` must be named by its place.
Result<std::filesystem::path> sibling_split(const std::filesystem::path& path,
                                            const SplitPlace& place, int64_t number);

// One model of its files, in order: the first one's metadata without split.*, everyone's tensors.
// Places that contradict each other and tensors in two files are errors; `names` are the files'.
Result<GgufContent> merge_splits(std::vector<GgufContent> files,
                                 const std::vector<std::string>& names);

// The keys that say so in file `place.number`.
void put_split_keys(const SplitPlace& place,
                    std::vector<std::pair<std::string, GgufValue>>& metadata);
// Removes them.
void erase_split_keys(std::vector<std::pair<std::string, GgufValue>>& metadata);

}  // namespace coldpress
