// The ranks that a launcher (mpirun) started this process among. Linked from comm_mpi.cc or, in a
// build without MPI, from comm_no_mpi.cc; only the program is.
#pragma once

#include <memory>

#include "base/status.h"
#include "distributed/comm.h"

namespace coldpress {

// `launched`: how many processes the launcher says it started; 1: no launcher, and LocalComm. Once
// per process. With several, ending it waits for the other ranks: they must have failed too, or
// have passed the last barrier.
Result<std::unique_ptr<Comm>> open_comm(int launched);

}  // namespace coldpress
