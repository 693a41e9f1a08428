#include <fmt/format.h>

#include "distributed/open_comm.h"

namespace coldpress {

Result<std::unique_ptr<Comm>> open_comm(int launched) {
  if (launched > 1) {
    return unsupported(
        fmt::format("{} processes were started together, but this build of coldpress runs alone; "
                    "build it where "
                    "Open MPI is installed, or start it without mpirun",
                    launched));
  }
  return std::unique_ptr<Comm>(std::make_unique<LocalComm>());
}

}  // namespace coldpress
