// Q4_0: 32 columns, d (code - 8).
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int j = 0; j < 16; ++j) {
    out[2 + j] = static_cast<std::byte>((parts.codes[j] & 15) | (parts.codes[j + 16] & 15) << 4);
  }
}

constexpr BlockFormat kFormat = {
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
const GridKind kGridKind_q4_0 = {
    .name = "q4_0",
    .summary = "llama.cpp Q4_0: 4 bits, an fp16 scale per 32",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("q4_0", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
