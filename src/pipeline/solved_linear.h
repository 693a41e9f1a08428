// A linear that was solved: here, by another rank or by an earlier process.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "distributed/comm.h"
#include "grid/grid.h"
#include "io/byte_stream.h"
#include "solver/solver.h"

namespace coldpress {

struct SolvedLinear {
  LayerSolution solution;
  // What only its owner knows.
  double bound = 0;  // rate-distortion bound, relative
  int64_t tokens = 0;
  std::string policy = {};  // of experts
};

// Bit for bit. `kind`, `where`: as below.
void put_solved(const SolvedLinear& solved, ByteWriter* out);
Result<SolvedLinear> take_solved(ByteReader* in, const GridKind& kind, const std::string& where);

// `solved` of rank `owner`, in every rank. `kind`: of the linear's grid. `where`: the linear, in
// errors.
Status share_solved(int owner, const GridKind& kind, const std::string& where, Comm& comm,
                    SolvedLinear* solved);

}  // namespace coldpress
