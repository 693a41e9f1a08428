// MXFP4: 32 columns, 2^k times a 4-bit float; the exponent k is a byte (E8M0).
#include <array>
#include <cmath>

#include "grid/block_format.h"
#include "grid/e2m1.h"

namespace coldpress {
namespace {

constexpr int kBias = 127;

void pack(const BlockParts& parts, std::byte* out) {
  out[0] = static_cast<std::byte>(std::ilogb(parts.own[0]) + kBias);
  std::array<uint8_t, 32> bits{};
  for (std::size_t j = 0; j < bits.size(); ++j) bits[j] = e2m1_bits(parts.codes[j]);
  put_nibbles(out + 1, bits.data(), bits.data() + 16, 16);
}

constexpr BlockFormat kFormat = {
    .name = "mxfp4",
    .ggml_type = 39,
    .bits = 4,
    .group = 32,
    .block = 32,
    .block_bytes = 17,
    .levels = 15,
    .zero = 0,
    .level = kE2m1Levels,
    .scale = {.type = DType::kU8},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_mxfp4;
const GridKind kGridKind_mxfp4 =
    block_grid<kFormat>("llama.cpp MXFP4: 4-bit floats, a power of two per 32");

}  // namespace coldpress
