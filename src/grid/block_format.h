// llama.cpp's block formats as grids (ALGORITHMS.md §5): blocks of consecutive columns, made of
// groups that have a scale, and in some formats an offset, of their own. A format is data and one
// function that packs a block; everything else is shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"
#include "base/view.h"
#include "grid/grid.h"

namespace coldpress {

// One block of one row, as its bytes hold it.
struct BlockParts {
  const uint8_t* codes;  // of the block's columns
  const int* scale;      // of each group: multiples of `unit`; all 1 where a group has its own
  const int* offset;     // likewise, of `offset_unit`
  float unit;            // an fp16 value
  float offset_unit;     // an fp16 value
};

struct BlockFormat {
  int32_t ggml_type;
  int bits;
  int64_t group;                 // columns of a group
  int64_t block;                 // columns of a block
  int64_t block_bytes;           // packed
  int levels;                    // codes are 0 .. levels-1
  float zero;                    // of formats without offsets: the code (or level) of the value 0
  std::span<const float> level;  // empty: level[c] = c; else `levels` long, ascending
  ScaleRule scale;
  bool has_offset;
  ScaleRule offset;
  void (*pack)(const BlockParts& parts, std::byte* out);
};

// For GridKind: refuses other bits and groups than the format's, and rows that are not whole
// blocks.
Status check_blocks(std::string_view name, const BlockFormat& format, const GridOptions& options,
                    int64_t cols);
QuantGrid fit_blocks(const BlockFormat& format, const GridOptions& options, View2<const float> w,
                     std::span<const float> h_diag);

// The packed rows, (rows, bytes of a row), of codes on a grid of this format.
Matrix<std::byte> encode_blocks(const BlockFormat& format, const QuantGrid& grid,
                                View2<const uint8_t> codes);

// Writes `value`, an fp16 value, in two bytes.
inline void put_half(std::byte* out, float value) {
  const uint16_t h = f32_to_f16(value);
  out[0] = static_cast<std::byte>(h & 0xFF);
  out[1] = static_cast<std::byte>(h >> 8);
}

inline double bits_per_weight(const BlockFormat& format) {
  return 8.0 * static_cast<double>(format.block_bytes) / static_cast<double>(format.block);
}

}  // namespace coldpress
