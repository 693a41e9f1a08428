// Q2_K: 256 columns in groups of 16, d scale code - dmin offset, both of 4 bits.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  for (int g = 0; g < 16; ++g) {
    out[g] = static_cast<std::byte>(parts.scale[g] | parts.offset[g] << 4);
  }
  for (int half = 0; half < 2; ++half) put_pairs(out + 16 + 32 * half, parts.codes + 128 * half, 0);
  put_half(out + 80, parts.unit);
  put_half(out + 82, parts.offset_unit);
}

constexpr BlockFormat kFormat = {
    .name = "q2_k",
    .ggml_type = 10,
    .bits = 2,
    .group = 16,
    .block = 256,
    .block_bytes = 84,
    .levels = 4,
    .zero = 0,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 16, .lo = 0, .hi = 15},
    .has_offset = true,
    .offset = {.type = DType::kF16, .groups_per_unit = 16, .lo = 0, .hi = 15},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q2_k;
const GridKind kGridKind_q2_k =
    block_grid<kFormat>("llama.cpp Q2_K: 2 bits, 4-bit scales and minimums per 16");

}  // namespace coldpress
