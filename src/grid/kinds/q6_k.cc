// Q6_K: 256 columns in groups of 16, d scale (code - 32), signed scales of 8 bits.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  for (int half = 0; half < 2; ++half) {  // of 128 columns
    const uint8_t* codes = parts.codes + 128 * half;
    put_nibbles(out + 64 * half, codes, codes + 64, 64);
    put_pairs(out + 128 + 32 * half, codes, 4);
  }
  for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<std::byte>(parts.scale[g]);
  put_half(out + 208, parts.unit);
}

constexpr BlockFormat kFormat = {
    .name = "q6_k",
    .ggml_type = 14,
    .bits = 6,
    .group = 16,
    .block = 256,
    .block_bytes = 210,
    .levels = 64,
    .zero = 32,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 16, .lo = -128, .hi = 127},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q6_k;
const GridKind kGridKind_q6_k = block_grid<kFormat>("llama.cpp Q6_K: 6 bits, 8-bit scales per 16");

}  // namespace coldpress
