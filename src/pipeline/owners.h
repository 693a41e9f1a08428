// Which rank solves which linear.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace coldpress {

// The rank of each of the tasks that are done side by side: the dearest first, each to the rank
// with the least to do so far (LPT); among equals `preferred`, then the lowest. Depends on nothing
// else, so that every rank finds the same.
std::vector<int> assign_owners(std::span<const double> costs, int ranks, int preferred);

// To solve a linear of so many rows and columns, in comparison with others.
double solve_cost(int64_t rows, int64_t cols);

}  // namespace coldpress
