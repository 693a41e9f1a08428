// What the stored forms in packed/ share: scales laid over a matrix in blocks, and the checks of
// the tensors that hold them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/packed_form.h"

namespace coldpress {

// Blocks of `rows` x `cols` weights share one scale. The last ones may be cut by the matrix's edge.
struct BlockSize {
  int64_t rows = 1;
  int64_t cols = 1;
};

// How one value per block lies in memory: `down` x `across` values, row-major.
struct BlockGrid {
  BlockSize block;
  int64_t down = 0;
  int64_t across = 0;

  std::size_t at(int64_t row, int64_t col) const {
    return static_cast<std::size_t>(row / block.rows * across + col / block.cols);
  }
};

// The grid of a (rows, cols) matrix; blocks larger than the matrix are cut to it.
BlockGrid grid_of(BlockSize block, int64_t rows, int64_t cols);
// Whether a tensor of this shape can hold the grid's values: [down, across], or with trailing ones
// left out ([down] for one block across, [] for one block).
bool holds_grid(const std::vector<int64_t>& shape, const BlockGrid& grid);
// "tensor", "channel", "g128" or "128x128".
std::string grid_label(const BlockGrid& grid, int64_t rows, int64_t cols);

// The tensor `name`, or an error that says what it is for ("scales").
Result<const StoredTensor*> need_part(const StoredTensors& all, const std::string& name,
                                      const std::string& owner, const char* purpose);
// Errors unless the tensor is a matrix with at least one element.
Status check_matrix(const StoredTensors& all, const StoredTensor& part);
// Errors unless the tensor is F32, F16 or BF16.
Status check_float_part(const StoredTensors& all, const StoredTensor& part);
Status wrong_shape(const StoredTensors& all, const StoredTensor& part, const std::string& expected);
std::string dims_text(const std::vector<int64_t>& shape);

// Values of a tensor that check_float_part has accepted.
std::vector<float> float_values(const StoredTensor& part);
// What loaders make of products with scales of type `type`: they multiply in that type.
void round_as_loaders(DType type, std::span<float> values);
// Values of an I64, I32, I16, I8 or U8 tensor; nullopt for any other.
std::optional<std::vector<int64_t>> integer_values(const StoredTensor& part);

// The whole number from `least` to `most` under `key`; `missing` where there is none or null.
Result<int64_t> setting_or(const Json& settings, const char* key, int64_t missing, int64_t least,
                           int64_t most, const std::string& where);

// Codes of one byte each (FP8 or I8) times one scale per block, less one zero point per block where
// `zeros` is given. The scales' layout is the first of `blocks` that fits.
Result<PackedWeight> scaled_bytes(const StoredTensors& all, const StoredTensor& codes,
                                  const StoredTensor& scales, const StoredTensor* zeros,
                                  std::span<const BlockSize> blocks);

}  // namespace coldpress
