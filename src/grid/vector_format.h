// llama.cpp's formats whose columns are chosen together, from a book of codewords: what they share
// beyond grid/block_format.h. The books are read out of ggml's own decoder.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grid/block_format.h"
#include "grid/codebook.h"

namespace coldpress {

// Decodes blocks of each codeword, all signs positive, on a scale of 1.
Codebook read_codebook(const BlockFormat& format);

// 28 bits, the signs of the first 7 of 8 columns in four units (the eighth follows, since the
// number of signs is even), below the 4 bits of a scale that is an odd multiple.
inline void put_signs_and_scale(std::byte* out, const uint8_t* signs, int multiple) {
  uint32_t bits = static_cast<uint32_t>(multiple / 2) << 28;
  for (int v = 0; v < 4; ++v) bits |= static_cast<uint32_t>(signs[v] & 127) << (7 * v);
  for (int b = 0; b < 4; ++b) out[b] = static_cast<std::byte>(bits >> (8 * b));
}

// 4 bits of each of `count` odd multiples, two in a byte.
inline void put_odd_scales(std::byte* out, const int* multiples, int count) {
  for (int g = 0; g < count; g += 2) {
    out[g / 2] = static_cast<std::byte>(multiples[g] / 2 | multiples[g + 1] / 2 << 4);
  }
}

// What is a format's own, beside what all have: 256 columns, an fp16 d and odd multiples of it.
struct VectorBlock {
  const char* name;
  int32_t ggml_type;
  int bits;
  int64_t group;
  int64_t block_bytes;
  void (*pack)(const BlockParts& parts, std::byte* out);
  VectorFormat vectors;
};

constexpr BlockFormat vector_block(const VectorBlock& b) {
  constexpr int64_t kColumns = 256;
  return {
      .name = b.name,
      .ggml_type = b.ggml_type,
      .bits = b.bits,
      .group = b.group,
      .block = kColumns,
      .block_bytes = b.block_bytes,
      .levels = b.bits == 2 ? 6 : 16,
      .zero = 0,
      .level = {},
      .scale = {.type = DType::kF16,
                .groups_per_unit = kColumns / b.group,
                .lo = 1,
                .hi = 31,
                .step = 2},
      .has_offset = false,
      .offset = {},
      .pack = b.pack,
      .vectors = b.vectors,
  };
}

// Read at the first call.
template <const BlockFormat& kFormat>
const Codebook& book_of() {
  static const Codebook book = read_codebook(kFormat);
  return book;
}

// The row of the table of grids for such a format.
template <const BlockFormat& kFormat>
constexpr GridKind vector_grid(std::string_view summary) {
  GridKind kind = block_grid<kFormat>(summary);
  kind.fit = [](const GridOptions& o, View2<const float> w, std::span<const float> h_diag) {
    return fit_blocks(kFormat, o, w, h_diag, &book_of<kFormat>());
  };
  kind.book = &book_of<kFormat>;
  return kind;
}

}  // namespace coldpress
