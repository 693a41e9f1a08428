// The grid of a whole layer problem, on all threads.
#pragma once

#include <vector>

#include "base/view.h"
#include "parallel/thread_pool.h"
#include "solver/solver.h"

namespace coldpress {

// Ranges for all rows of w (out, in); h_diag (in) >= 0 weighs the columns. `fit` must have passed
// its kind's check. The same for any thread count.
QuantGrid fit_grid(const GridFit& fit, View2<const float> w, const std::vector<float>& h_diag,
                   ThreadPool& pool);

}  // namespace coldpress
