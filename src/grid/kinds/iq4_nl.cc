// IQ4_NL: 32 columns, d times one of 16 uneven levels.
#include "grid/block_format.h"
#include "grid/iq4_levels.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_nibbles(out + 2, parts.codes, parts.codes + 16, 16);
}

constexpr BlockFormat kFormat = {
    .name = "iq4_nl",
    .ggml_type = 20,
    .bits = 4,
    .group = 32,
    .block = 32,
    .block_bytes = 18,
    .levels = 16,
    .zero = 0,
    .level = kIq4Levels,
    .scale = {.type = DType::kF16},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_iq4_nl;
const GridKind kGridKind_iq4_nl =
    block_grid<kFormat>("llama.cpp IQ4_NL: 16 uneven levels, an fp16 scale per 32");

}  // namespace coldpress
