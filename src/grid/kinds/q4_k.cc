// Q4_K: 256 columns in groups of 32, d scale code - dmin offset, both of 6 bits.
#include "grid/block_format.h"
#include "grid/block_scales.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  put_half(out, parts.unit);
  put_half(out + 2, parts.offset_unit);
  pack_scales(parts, out + 4);
  for (int j = 0; j < 256; j += 64) {  // 64 columns in 32 bytes: the low nibble is the first half
    for (int l = 0; l < 32; ++l) {
      out[16 + j / 2 + l] =
          static_cast<std::byte>((parts.codes[j + l] & 15) | (parts.codes[j + 32 + l] & 15) << 4);
    }
  }
}

constexpr BlockFormat kFormat = {
    .ggml_type = 12,
    .bits = 4,
    .group = 32,
    .block = 256,
    .block_bytes = 144,
    .levels = 16,
    .zero = 0,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 8, .lo = 0, .hi = 63},
    .has_offset = true,
    .offset = {.type = DType::kF16, .groups_per_unit = 8, .lo = 0, .hi = 63},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q4_k;
const GridKind kGridKind_q4_k = {
    .name = "q4_k",
    .summary = "llama.cpp Q4_K: 4 bits, 6-bit scales and minimums per 32",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("q4_k", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
