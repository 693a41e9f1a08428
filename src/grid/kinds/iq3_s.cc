// IQ3_S: 256 columns in groups of 32, d (2 s + 1) level; 4 columns take one of 512 codewords and
// any signs.
#include "grid/vector_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int b = 0; b < 8; ++b) out[66 + b] = std::byte{0};
  for (int v = 0; v < 64; ++v) {
    out[2 + v] = static_cast<std::byte>(parts.words[v] & 255);
    out[66 + v / 8] |= static_cast<std::byte>((parts.words[v] >> 8) << (v % 8));
  }
  for (int u = 0; u < 32; ++u) out[74 + u] = static_cast<std::byte>(parts.signs[u]);
  put_odd_scales(out + 106, parts.scale, 8);
}

constexpr BlockFormat kFormat = vector_block({
    .name = "iq3_s",
    .ggml_type = 21,
    .bits = 3,
    .group = 32,
    .block_bytes = 110,
    .pack = pack,
    .vectors = {.length = 4, .words = 512, .even_signs = false},
});

}  // namespace

extern const GridKind kGridKind_iq3_s;
const GridKind kGridKind_iq3_s =
    vector_grid<kFormat>("llama.cpp IQ3_S: 512 codewords of 4, 4-bit scales per 32");

}  // namespace coldpress
