// How the two conventions lay out the same weights. Names: model/table.h.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/table.h"

namespace coldpress {

// Row r of the tensor in `to` is row order[r] of the tensor in `from`: rows of rotary heads, and of
// fused q, k and v. Empty: as they are. For a vector the same holds of its elements.
std::vector<int64_t> row_order(const Architecture& architecture, const RoleSpec& role,
                               const ModelConfig& config, Naming from, Naming to);

}  // namespace coldpress
