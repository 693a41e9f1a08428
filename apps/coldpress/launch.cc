#include "launch.h"

#include <algorithm>
#include <cstdlib>

namespace coldpress::cli {

Launch launch_of_this_process() {
  const char* ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (ranks == nullptr || rank == nullptr) return {};
  return {std::max(0, std::atoi(rank)), std::max(1, std::atoi(ranks))};
}

}  // namespace coldpress::cli
