// Grids of a fixed table of levels: value = scale * level[c], no zero point. The kinds nf4 and fp4
// are such tables; what differs is only their levels.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "grid/grid.h"

namespace coldpress {

// Refuses options that a table of 4-bit codes cannot honour.
Status check_levels(std::string_view kind, const GridOptions& options, int64_t cols);

// Fits scales for `levels`: ascending, with 0 among them. The range is the group's largest absolute
// weight, or the clipped one.
QuantGrid fit_levels(std::span<const float> levels, const GridOptions& options,
                     View2<const float> w, std::span<const float> h_diag);

// A scale per group beside the 4-bit codes.
double levels_bits_per_weight(const GridOptions& options, int64_t cols);

}  // namespace coldpress
