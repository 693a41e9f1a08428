// Q4_1: 32 columns, d code + m.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_half(out + 2, -parts.offset_unit);
  put_nibbles(out + 4, parts.codes, parts.codes + 16, 16);
}

constexpr BlockFormat kFormat = {
    .name = "q4_1",
    .ggml_type = 3,
    .bits = 4,
    .group = 32,
    .block = 32,
    .block_bytes = 20,
    .levels = 16,
    .zero = 0,
    .level = {},
    .scale = {.type = DType::kF16},
    .has_offset = true,
    .offset = {.type = DType::kF16},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q4_1;
const GridKind kGridKind_q4_1 =
    block_grid<kFormat>("llama.cpp Q4_1: 4 bits, an fp16 scale and minimum per 32");

}  // namespace coldpress
