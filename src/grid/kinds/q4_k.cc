// Q4_K: 256 columns in groups of 32, d scale code - dmin offset, both of 6 bits.
#include "grid/block_format.h"
#include "grid/block_scales.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_half(out + 2, parts.offset_unit);
  pack_scales(parts, out + 4);
  for (int j = 0; j < 256; j += 64) {  // 64 columns in 32 bytes: the low nibble is the first half
    put_nibbles(out + 16 + j / 2, parts.codes + j, parts.codes + j + 32, 32);
  }
}

constexpr BlockFormat kFormat = {
    .name = "q4_k",
    .ggml_type = 12,
    .bits = 4,
    .group = 32,
    .block = 256,
    .block_bytes = 144,
    .levels = 16,
    .zero = 0,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 8, .lo = 0, .hi = 63},
    .has_offset = true,
    .offset = {.type = DType::kF16, .groups_per_unit = 8, .lo = 0, .hi = 63},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q4_k;
const GridKind kGridKind_q4_k =
    block_grid<kFormat>("llama.cpp Q4_K: 4 bits, 6-bit scales and minimums per 32");

}  // namespace coldpress
