// The 16 levels that IQ4_NL and IQ4_XS share.
#pragma once

#include <array>

namespace coldpress {

inline constexpr std::array<float, 16> kIq4Levels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                     1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace coldpress
