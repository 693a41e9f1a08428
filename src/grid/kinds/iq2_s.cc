// IQ2_S: 256 columns in groups of 16, d (2 s + 1) level; 8 columns take one of 1024 codewords and
// any signs.
#include "grid/vector_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int b = 0; b < 8; ++b) out[66 + b] = std::byte{0};
  for (int v = 0; v < 32; ++v) {
    out[2 + v] = static_cast<std::byte>(parts.words[v] & 255);
    out[34 + v] = static_cast<std::byte>(parts.signs[v]);
    out[66 + v / 4] |= static_cast<std::byte>((parts.words[v] >> 8) << (2 * (v % 4)));
  }
  put_odd_scales(out + 74, parts.scale, 16);
}

constexpr BlockFormat kFormat = vector_block({
    .name = "iq2_s",
    .ggml_type = 22,
    .bits = 2,
    .group = 16,
    .block_bytes = 82,
    .pack = pack,
    .vectors = {.length = 8, .words = 1024, .even_signs = false},
});

}  // namespace

extern const GridKind kGridKind_iq2_s;
const GridKind kGridKind_iq2_s =
    vector_grid<kFormat>("llama.cpp IQ2_S: 1024 codewords of 8, 4-bit scales per 16");

}  // namespace coldpress
