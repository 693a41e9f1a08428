#include "pipeline/owners.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace coldpress {

std::vector<int> assign_owners(std::span<const double> costs, int ranks, int preferred) {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  std::vector<double> load(static_cast<std::size_t>(ranks));
  std::vector<int> owners(costs.size());
  for (const std::size_t task : order) {
    int best = std::clamp(preferred, 0, ranks - 1);
    for (int r = 0; r < ranks; ++r) {
      if (load[static_cast<std::size_t>(r)] < load[static_cast<std::size_t>(best)]) best = r;
    }
    owners[task] = best;
    load[static_cast<std::size_t>(best)] += costs[task];
  }
  return owners;
}

double solve_cost(int64_t rows, int64_t cols) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(cols);
}

}  // namespace coldpress
