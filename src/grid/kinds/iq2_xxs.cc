// IQ2_XXS: 256 columns in groups of 32, d (2 s + 1) level; 8 columns take one of 256 codewords and
// an even number of minus signs.
#include "grid/vector_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int g = 0; g < 8; ++g) {
    std::byte* group = out + 2 + 8 * g;
    for (int v = 0; v < 4; ++v) group[v] = static_cast<std::byte>(parts.words[4 * g + v]);
    put_signs_and_scale(group + 4, parts.signs + 4 * g, parts.scale[g]);
  }
}

constexpr BlockFormat kFormat = vector_block({
    .name = "iq2_xxs",
    .ggml_type = 16,
    .bits = 2,
    .group = 32,
    .block_bytes = 66,
    .pack = pack,
    .vectors = {.length = 8, .words = 256, .even_signs = true},
});

}  // namespace

extern const GridKind kGridKind_iq2_xxs;
const GridKind kGridKind_iq2_xxs =
    vector_grid<kFormat>("llama.cpp IQ2_XXS: 256 codewords of 8, 4-bit scales per 32");

}  // namespace coldpress
