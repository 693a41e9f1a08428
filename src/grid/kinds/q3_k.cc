// Q3_K: 256 columns in groups of 16, d scale (code - 4), signed scales of 6 bits.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  for (int b = 0; b < 110; ++b) out[b] = std::byte{0};
  for (int j = 0; j < 256; ++j) {  // bit j / 32 of byte j % 32: the code's high bit
    out[j % 32] |= static_cast<std::byte>((parts.codes[j] >> 2) << (j / 32));
  }
  for (int half = 0; half < 2; ++half) put_pairs(out + 32 + 32 * half, parts.codes + 128 * half, 0);
  for (int g = 0; g < 16; ++g) {  // low nibbles in bytes 0-7, high pairs in bytes 8-11
    const int s = parts.scale[g] + 32;
    out[96 + g % 8] |= static_cast<std::byte>((s & 15) << (g < 8 ? 0 : 4));
    out[104 + g % 4] |= static_cast<std::byte>((s >> 4) << (2 * (g / 4)));
  }
  put_half(out + 108, parts.unit);
}

constexpr BlockFormat kFormat = {
    .name = "q3_k",
    .ggml_type = 11,
    .bits = 3,
    .group = 16,
    .block = 256,
    .block_bytes = 110,
    .levels = 8,
    .zero = 4,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 16, .lo = -32, .hi = 31},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q3_k;
const GridKind kGridKind_q3_k = block_grid<kFormat>("llama.cpp Q3_K: 3 bits, 6-bit scales per 16");

}  // namespace coldpress
