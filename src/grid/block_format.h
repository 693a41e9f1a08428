// llama.cpp's block formats as grids (ALGORITHMS.md §5): blocks of consecutive columns, made of
// groups that have a scale, and in some formats an offset, of their own. A format is data and one
// function that packs a block; everything else is shared.
#pragma once

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
  const uint8_t* codes;   // of the block's columns
  const uint16_t* words;  // of a format with vectors: the number of each codeword,
  const uint8_t* signs;   // and of 8 columns each, bit j set where column j is below 0
  const float* own;       // scale of each group
  const int* scale;       // of each group: multiples of `unit`; all 1 where a group has its own
  const int* offset;      // likewise, of `offset_unit`
  float unit;             // an fp16 value
  float offset_unit;      // an fp16 value
};

// Of formats whose columns are chosen together (grid/codebook.h).
struct VectorFormat {
  int64_t length = 0;       // columns of a codeword
  int64_t words = 0;        // in the book; 0: each column has a code of its own
  bool even_signs = false;  // the number of columns below 0 is even in every 8
};

struct BlockFormat {
  std::string_view name;  // of the grid
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
  VectorFormat vectors = {};
};

// Refuses other bits and groups than the format's, and rows that are not whole blocks.
Status check_blocks(const BlockFormat& format, const GridOptions& options, int64_t cols);
// `book`: of a format with vectors.
QuantGrid fit_blocks(const BlockFormat& format, const GridOptions& options, View2<const float> w,
                     std::span<const float> h_diag, const Codebook* book = nullptr);

// The packed rows, (rows, bytes of a row), of codes on a grid of this format.
Matrix<std::byte> encode_blocks(const BlockFormat& format, const QuantGrid& grid,
                                View2<const uint8_t> codes);

// Writes `value`, an fp16 value, in two bytes.
inline void put_half(std::byte* out, float value) {
  const uint16_t h = f32_to_f16(value);
  out[0] = static_cast<std::byte>(h & 0xFF);
  out[1] = static_cast<std::byte>(h >> 8);
}

// 4-bit halves of codes in pairs: byte j holds low[j] below high[j].
inline void put_nibbles(std::byte* out, const uint8_t* low, const uint8_t* high, int count) {
  for (int j = 0; j < count; ++j) {
    out[j] = static_cast<std::byte>((low[j] & 15) | (high[j] & 15) << 4);
  }
}

// Bits `shift` and `shift` + 1 of 128 codes, in 32 bytes: byte j holds columns j, 32 + j, 64 + j,
// 96 + j.
inline void put_pairs(std::byte* out, const uint8_t* codes, int shift) {
  for (int j = 0; j < 32; ++j) {
    int byte = 0;
    for (int k = 0; k < 4; ++k) byte |= ((codes[32 * k + j] >> shift) & 3) << (2 * k);
    out[j] = static_cast<std::byte>(byte);
  }
}

// Bit 4 of 32 codes, in four bytes.
inline void put_fifth_bits(std::byte* out, const uint8_t* codes) {
  uint32_t high = 0;
  for (int j = 0; j < 32; ++j) high |= static_cast<uint32_t>(codes[j] >> 4) << j;
  for (int b = 0; b < 4; ++b) out[b] = static_cast<std::byte>(high >> (8 * b));
}

// The row of the table of grids for a format.
template <const BlockFormat& kFormat>
constexpr GridKind block_grid(std::string_view summary) {
  return {
      .name = kFormat.name,
      .summary = summary,
      .fixed_bits = kFormat.bits,
      .check = [](const GridOptions& o, int64_t cols) { return check_blocks(kFormat, o, cols); },
      .fit = [](const GridOptions& o, View2<const float> w,
                std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
      .bits_per_weight =
          [](const GridOptions&, int64_t) {
            return 8.0 * static_cast<double>(kFormat.block_bytes) /
                   static_cast<double>(kFormat.block);
          },
      .block = &kFormat,
  };
}

}  // namespace coldpress
