// A linear that was solved, here or by another rank.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "distributed/comm.h"
#include "grid/grid.h"
#include "solver/solver.h"

namespace coldpress {

struct SolvedLinear {
  LayerSolution solution;
  // What only its owner knows.
  double bound = 0;  // rate-distortion bound, relative
  int64_t tokens = 0;
  std::string policy = {};  // of experts
};

// `solved` of rank `owner`, in every rank. `kind`: of the linear's grid. `where`: the linear, in
// errors.
Status share_solved(int owner, const GridKind& kind, const std::string& where, Comm& comm,
                    SolvedLinear* solved);

}  // namespace coldpress
