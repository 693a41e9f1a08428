// The table of grids, generated from grid/kinds/.
#pragma once

#include <span>

#include "grid/grid.h"

namespace coldpress {

std::span<const GridKind* const> grid_table();
Result<const GridKind*> find_grid(std::string_view name);

}  // namespace coldpress
