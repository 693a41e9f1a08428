// How this process was started.
#pragma once

namespace coldpress::cli {

// As mpirun tells each of its processes; one process of one without it.
struct Launch {
  int rank = 0;
  int ranks = 1;
};

Launch launch_of_this_process();

}  // namespace coldpress::cli
