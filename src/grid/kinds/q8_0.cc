// Q8_0: 32 columns, d times a signed byte.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int j = 0; j < 32; ++j) out[2 + j] = static_cast<std::byte>(parts.codes[j] - 128);
}

constexpr BlockFormat kFormat = {
    .name = "q8_0",
    .ggml_type = 8,
    .bits = 8,
    .group = 32,
    .block = 32,
    .block_bytes = 34,
    .levels = 256,
    .zero = 128,
    .level = {},
    .scale = {.type = DType::kF16},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q8_0;
const GridKind kGridKind_q8_0 = block_grid<kFormat>("llama.cpp Q8_0: 8 bits, an fp16 scale per 32");

}  // namespace coldpress
