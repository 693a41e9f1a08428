// Q6_K: 256 columns in groups of 16, d scale (code - 32), signed scales of 8 bits.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  for (int half = 0; half < 2; ++half) {  // of 128 columns
    const uint8_t* codes = parts.codes + 128 * half;
    for (int l = 0; l < 32; ++l) {
      out[64 * half + l] = static_cast<std::byte>((codes[l] & 15) | (codes[64 + l] & 15) << 4);
      out[64 * half + 32 + l] =
          static_cast<std::byte>((codes[32 + l] & 15) | (codes[96 + l] & 15) << 4);
      out[128 + 32 * half + l] =
          static_cast<std::byte>(codes[l] >> 4 | (codes[32 + l] >> 4) << 2 |
                                 (codes[64 + l] >> 4) << 4 | (codes[96 + l] >> 4) << 6);
    }
  }
  for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<std::byte>(parts.scale[g]);
  put_half(out + 208, parts.unit);
}

constexpr BlockFormat kFormat = {
    .ggml_type = 14,
    .bits = 6,
    .group = 16,
    .block = 256,
    .block_bytes = 210,
    .levels = 64,
    .zero = 32,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 16, .lo = -128, .hi = 127},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q6_k;
const GridKind kGridKind_q6_k = {
    .name = "q6_k",
    .summary = "llama.cpp Q6_K: 6 bits, 8-bit scales per 16",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("q6_k", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
