// A layer solution as bytes, for a journal on disk or a message to another process: the way there
// and back is exact, to the last bit of every number. Both ends are the same program; the bytes
// are no format for anybody else.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "grid/grid.h"
#include "solver/solver.h"

namespace coldpress {

// Codes take as many bits as the grid's levels need.
std::vector<std::byte> solution_to_bytes(const LayerSolution& solution);

// `kind`: of the grid that the layer was solved on; a grid with a book gets its book from there.
// Bytes that are no solution on such a grid are an error (corrupt) that begins with `where`. Memory
// is taken for what is there only: at most 8 bytes per byte.
Result<LayerSolution> solution_from_bytes(std::span<const std::byte> bytes, const GridKind& kind,
                                          const std::string& where);

}  // namespace coldpress
