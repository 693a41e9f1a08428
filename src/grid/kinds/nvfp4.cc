// NVFP4: 64 columns in groups of 16, an 8-bit float (E4M3, no sign) times a 4-bit one. llama.cpp's
// blocks have no scale of the whole tensor, so weights below 2^-10 are out of reach.
#include <algorithm>
#include <array>
#include <cmath>

#include "grid/block_format.h"
#include "grid/e2m1.h"

namespace coldpress {
namespace {

constexpr int kLeastExponent = -6;  // below are steps of 2^-9
constexpr int kMantissaBits = 3;

std::byte e4m3_bits(float scale) {
  const int exponent = std::max(std::ilogb(scale), kLeastExponent);
  const int steps = static_cast<int>(std::ldexp(scale, kMantissaBits - exponent));  // 1 to 15
  return static_cast<std::byte>(((exponent - kLeastExponent) << kMantissaBits) + steps);
}

void pack(const BlockParts& parts, std::byte* out) {
  for (int g = 0; g < 4; ++g) {
    out[g] = e4m3_bits(parts.own[g]);
    std::array<uint8_t, 16> bits{};
    for (int j = 0; j < 16; ++j) {
      bits[static_cast<std::size_t>(j)] = e2m1_bits(parts.codes[16 * g + j]);
    }
    put_nibbles(out + 4 + 8 * g, bits.data(), bits.data() + 8, 8);
  }
}

constexpr BlockFormat kFormat = {
    .name = "nvfp4",
    .ggml_type = 40,
    .bits = 4,
    .group = 16,
    .block = 64,
    .block_bytes = 36,
    .levels = 15,
    .zero = 0,
    .level = kE2m1Levels,
    .scale = {.type = DType::kF8E4M3},
    .has_offset = false,
    .offset = {},
    .pack = pack,
};

}  // namespace

extern const GridKind kGridKind_nvfp4;
const GridKind kGridKind_nvfp4 =
    block_grid<kFormat>("llama.cpp NVFP4: 4-bit floats, an 8-bit float per 16");

}  // namespace coldpress
