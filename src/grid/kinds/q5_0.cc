// Q5_0: 32 columns, d (code - 16).
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_fifth_bits(out + 2, parts.codes);
  put_nibbles(out + 6, parts.codes, parts.codes + 16, 16);
}

constexpr BlockFormat kFormat = {
    .name = "q5_0",
    .ggml_type = 6,
    .bits = 5,
    .group = 32,
    .block = 32,
    .block_bytes = 22,
    .levels = 32,
    .zero = 16,
    .level = {},
    .scale = {.type = DType::kF16},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q5_0;
const GridKind kGridKind_q5_0 = block_grid<kFormat>("llama.cpp Q5_0: 5 bits, an fp16 scale per 32");

}  // namespace coldpress
