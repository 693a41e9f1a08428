// How the two conventions lay out the same weights. Names: model/table.h.
#pragma once

#include "base/view.h"
#include "model/config.h"
#include "model/table.h"

namespace coldpress {

// Rewrites a tensor of `role` (as load() gives it: 1-D tensors are one row) from one convention to
// the other, in place: the row order of rotary heads and the offset of norm gains.
void convert_layout(const Architecture& architecture, const RoleSpec& role,
                    const ModelConfig& config, Naming from, Naming to, View2<float> values);

// True if convert_layout would move rows; `source_row` then says which row of the stored tensor
// becomes row `row` of the converted one.
bool moves_rows(const Architecture& architecture, const RoleSpec& role);
int64_t source_row(const ModelConfig& config, Naming from, Naming to, int64_t row);

}  // namespace coldpress
