// Law 1: the file decodes, bit for bit, to the values that were propagated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "export/layout.h"
#include "model/model.h"

namespace coldpress {

struct ValueHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const ValueHash&) const = default;
};

// Of each piece of each quantised tensor, by the output's name and the piece's place; a tensor
// without pieces counts as one.
using PieceHashes = std::map<std::pair<std::string, std::size_t>, ValueHash>;

// XXH3 (128 bits) of the values' bits, row by row.
ValueHash hash_values(View2<const float> values);

// Opens the output at `written` with the program's own readers. Each piece of a quantised tensor
// must decode to values with its hash (in the source's row order), each other tensor hold exactly
// the bytes that the layout asks for. The error names the first tensor that
// differs and calls the file `name`.
Status verify_output(const std::filesystem::path& written, const std::string& name,
                     const Model& source, const std::vector<OutputTensor>& layout,
                     const PieceHashes& hashes);

}  // namespace coldpress
