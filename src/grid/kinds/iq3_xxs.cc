// IQ3_XXS: 256 columns in groups of 32, d (2 s + 1) level; 4 columns take one of 256 codewords, and
// 8 an even number of minus signs.
#include "grid/vector_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int v = 0; v < 64; ++v) out[2 + v] = static_cast<std::byte>(parts.words[v]);
  for (int g = 0; g < 8; ++g) {
    put_signs_and_scale(out + 66 + 4 * g, parts.signs + 4 * g, parts.scale[g]);
  }
}

constexpr BlockFormat kFormat = vector_block({
    .name = "iq3_xxs",
    .ggml_type = 18,
    .bits = 3,
    .group = 32,
    .block_bytes = 98,
    .pack = pack,
    .vectors = {.length = 4, .words = 256, .even_signs = true},
});

}  // namespace

extern const GridKind kGridKind_iq3_xxs;
const GridKind kGridKind_iq3_xxs =
    vector_grid<kFormat>("llama.cpp IQ3_XXS: 256 codewords of 4, 4-bit scales per 32");

}  // namespace coldpress
