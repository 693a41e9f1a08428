// Q2_K: 256 columns in groups of 16, d scale code - dmin offset, both of 4 bits.
#include "grid/block_format.h"

namespace coldpress {
namespace {

void pack(const BlockParts& parts, std::byte* out) {
  for (int g = 0; g < 16; ++g) {
    out[g] = static_cast<std::byte>(parts.scale[g] | parts.offset[g] << 4);
  }
  for (int half = 0; half < 2; ++half) {  // of 128 columns: byte l holds columns l, 32 + l, ...
    const uint8_t* codes = parts.codes + 128 * half;
    for (int l = 0; l < 32; ++l) {
      out[16 + 32 * half + l] = static_cast<std::byte>(codes[l] | codes[32 + l] << 2 |
                                                       codes[64 + l] << 4 | codes[96 + l] << 6);
    }
  }
  put_half(out + 80, parts.unit);
  put_half(out + 82, parts.offset_unit);
}

constexpr BlockFormat kFormat = {
    .ggml_type = 10,
    .bits = 2,
    .group = 16,
    .block = 256,
    .block_bytes = 84,
    .levels = 4,
    .zero = 0,
    .level = {},
    .scale = {.type = DType::kF16, .groups_per_unit = 16, .lo = 0, .hi = 15},
    .has_offset = true,
    .offset = {.type = DType::kF16, .groups_per_unit = 16, .lo = 0, .hi = 15},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_q2_k;
const GridKind kGridKind_q2_k = {
    .name = "q2_k",
    .summary = "llama.cpp Q2_K: 2 bits, 4-bit scales and minimums per 16",
    .fixed_bits = kFormat.bits,
    .check = [](const GridOptions& o,
                int64_t cols) { return check_blocks("q2_k", kFormat, o, cols); },
    .fit = [](const GridOptions& o, View2<const float> w,
              std::span<const float> h_diag) { return fit_blocks(kFormat, o, w, h_diag); },
    .bits_per_weight = [](const GridOptions&, int64_t) { return bits_per_weight(kFormat); },
    .block = &kFormat,
};

}  // namespace coldpress
