// IQ4_NL: 32 columns, d times one of 16 uneven levels.
#include "grid/block_format.h"
#include "grid/iq4_levels.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  for (int j = 0; j < 16; ++j) {
    out[2 + j] = static_cast<std::byte>((parts.codes[j] & 15) | (parts.codes[j + 16] & 15) << 4);
  }
}

constexpr BlockFormat kFormat = {
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
const GridKind kGridKind_iq4_nl = {
    .name = "iq4_nl",
    .summary = "llama.cpp IQ4_NL: 16 uneven levels, an fp16 scale per 32",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("iq4_nl", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
