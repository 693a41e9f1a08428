// Q5_K: 256 columns in groups of 32, d scale code - dmin offset, both of 6 bits.
#include "grid/block_format.h"
#include "grid/block_scales.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_half(out + 2, parts.offset_unit);
  pack_scales(parts, out + 4);
  for (int l = 0; l < 32; ++l) {  // bit g of byte l: the high bit of column l of group g
    int high = 0;
    for (int g = 0; g < 8; ++g) high |= (parts.codes[32 * g + l] >> 4) << g;
    out[16 + l] = static_cast<std::byte>(high);
  }
  for (int j = 0; j < 256; j += 64) {  // 64 columns in 32 bytes: the low nibble is the first half
    put_nibbles(out + 48 + j / 2, parts.codes + j, parts.codes + j + 32, 32);
  }
}

constexpr BlockFormat kFormat = {
    .name = "q5_k",
    .ggml_type = 13,
    .bits = 5,
    .group = 32,
    .block = 256,
    .block_bytes = 176,
    .levels = 32,
    .zero = 0,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 8, .lo = 0, .hi = 63},
    .has_offset = true,
    .offset = {.type = DType::kF16, .groups_per_unit = 8, .lo = 0, .hi = 63},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q5_k;
const GridKind kGridKind_q5_k =
    block_grid<kFormat>("llama.cpp Q5_K: 5 bits, 6-bit scales and minimums per 32");

}  // namespace coldpress
