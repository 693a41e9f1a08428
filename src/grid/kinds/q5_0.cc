// Q5_0: 32 columns, d (code - 16).
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  uint32_t high = 0;  // bit 4 of every code
  for (int j = 0; j < 32; ++j) high |= static_cast<uint32_t>(parts.codes[j] >> 4) << j;
  for (int b = 0; b < 4; ++b) out[2 + b] = static_cast<std::byte>(high >> (8 * b));
  for (int j = 0; j < 16; ++j) {
    out[6 + j] = static_cast<std::byte>((parts.codes[j] & 15) | (parts.codes[j + 16] & 15) << 4);
  }
}

constexpr BlockFormat kFormat = {
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
const GridKind kGridKind_q5_0 = {
    .name = "q5_0",
    .summary = "llama.cpp Q5_0: 5 bits, an fp16 scale per 32",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("q5_0", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
