// IQ2_XS: 256 columns in groups of 16, d (2 s + 1) level; 8 columns take one of 512 codewords and
// an even number of minus signs.
#include "grid/vector_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int v = 0; v < 32; ++v) {
    const int bits = parts.words[v] | (parts.signs[v] & 127) << 9;
    out[2 + 2 * v] = static_cast<std::byte>(bits & 255);
    out[3 + 2 * v] = static_cast<std::byte>(bits >> 8);
  }
  put_odd_scales(out + 66, parts.scale, 16);
}

constexpr BlockFormat kFormat = vector_block({
    .name = "iq2_xs",
    .ggml_type = 17,
    .bits = 2,
    .group = 16,
    .block_bytes = 74,
    .pack = pack,
    .vectors = {.length = 8, .words = 512, .even_signs = true},
});

}  // namespace

extern const GridKind kGridKind_iq2_xs;
const GridKind kGridKind_iq2_xs =
    vector_grid<kFormat>("llama.cpp IQ2_XS: 512 codewords of 8, 4-bit scales per 16");

}  // namespace coldpress
