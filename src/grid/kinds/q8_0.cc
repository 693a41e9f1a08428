// Q8_0: 32 columns, d times a signed byte.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int j = 0; j < 32; ++j) out[2 + j] = static_cast<std::byte>(parts.codes[j] - 128);
}

constexpr BlockFormat kFormat = {
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
const GridKind kGridKind_q8_0 = {
    .name = "q8_0",
    .summary = "llama.cpp Q8_0: 8 bits, an fp16 scale per 32",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("q8_0", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
