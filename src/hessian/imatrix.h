// llama.cpp's importance matrices: for each matrix, how large the squares of its inputs were. They
// are the diagonals of Grams (hessian/gram.h), in the file that llama-imatrix writes and
// llama-quantize reads. Not the old ".dat" form.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/gguf.h"

namespace coldpress {

// Of one tensor; of all experts where it holds their matrices.
struct ImatrixEntry {
  std::string tensor;           // its GGUF name
  int64_t columns = 0;          // inputs per matrix
  std::vector<float> sums;      // matrices * columns: sum of x_j^2 over the rows it saw
  std::vector<int64_t> counts;  // per matrix: how many rows; or one for all of them

  int64_t matrices() const { return static_cast<int64_t>(sums.size()) / columns; }
  int64_t count(int64_t matrix) const {
    return counts[counts.size() == 1 ? 0 : static_cast<std::size_t>(matrix)];
  }
};

struct Imatrix {
  std::vector<ImatrixEntry> entries;  // names unique
  std::vector<std::string> datasets;  // the texts' names
  int64_t chunks = 0;
  int64_t chunk_size = 0;  // tokens

  const ImatrixEntry* find(const std::string& tensor) const;
};

// Finite sums and counts, none negative, at least one entry; `where` names the file in errors.
Result<Imatrix> parse_imatrix(const GgufContent& content, const std::string& where);
Result<Imatrix> read_imatrix(const std::filesystem::path& path);
// Writes under a temporary name first. Entries are sorted by name, as llama-imatrix does.
Status write_imatrix(const std::filesystem::path& path, const Imatrix& imatrix);

}  // namespace coldpress
