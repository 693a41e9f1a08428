// The 12 bytes of 6-bit scales and offsets that Q4_K and Q5_K share.
#pragma once

#include "grid/block_format.h"

namespace coldpress {

// Groups 0-3 are in the low bits of bytes 0-3 (scales) and 4-7 (offsets); groups 4-7 in the nibbles
// of bytes 8-11, their high pairs above the former.
inline void pack_scales(const BlockParts& parts, std::byte* out) {
  for (int g = 0; g < 4; ++g) {
    const int s = parts.scale[g + 4];
    const int o = parts.offset[g + 4];
    out[g] = static_cast<std::byte>(parts.scale[g] | (s >> 4) << 6);
    out[g + 4] = static_cast<std::byte>(parts.offset[g] | (o >> 4) << 6);
    out[g + 8] = static_cast<std::byte>((s & 15) | (o & 15) << 4);
  }
}

}  // namespace coldpress
