// IQ4_XS: 256 columns in groups of 32, d scale level, signed scales of 6 bits.
#include "grid/block_format.h"
#include "grid/iq4_levels.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  for (int b = 0; b < 8; ++b) out[b] = std::byte{0};
  put_half(out, parts.unit);
  for (int g = 0; g < 8; ++g) {  // high pairs in bytes 2-3, low nibbles in bytes 4-7
    const int s = parts.scale[g] + 32;
    out[2 + g / 4] |= static_cast<std::byte>((s >> 4) << (2 * (g % 4)));
    out[4 + g / 2] |= static_cast<std::byte>((s & 15) << (4 * (g % 2)));
  }
  for (int g = 0; g < 8; ++g) {
    const uint8_t* codes = parts.codes + 32 * g;
    put_nibbles(out + 8 + 16 * g, codes, codes + 16, 16);
  }
}

constexpr BlockFormat kFormat = {
    .name = "iq4_xs",
    .ggml_type = 23,
    .bits = 4,
    .group = 32,
    .block = 256,
    .block_bytes = 136,
    .levels = 16,
    .zero = 0,
    .level = kIq4Levels,
    .scale = {.type = DType::kF16, .groups_per_unit = 8, .lo = -32, .hi = 31},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_iq4_xs;
const GridKind kGridKind_iq4_xs =
    block_grid<kFormat>("llama.cpp IQ4_XS: 16 uneven levels, 6-bit scales per 32");

}  // namespace coldpress
