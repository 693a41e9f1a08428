// Q4_0: 32 columns, d (code - 8).
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_nibbles(out + 2, parts.codes, parts.codes + 16, 16);
}

constexpr BlockFormat kFormat = {
    .name = "q4_0",
    .ggml_type = 2,
    .bits = 4,
    .group = 32,
    .block = 32,
    .block_bytes = 18,
    .levels = 16,
    .zero = 8,
    .level = {},
    .scale = {.type = DType::kF16},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q4_0;
const GridKind kGridKind_q4_0 = block_grid<kFormat>("llama.cpp Q4_0: 4 bits, an fp16 scale per 32");

}  // namespace coldpress
