// The Gaussian rate-distortion bound of a layer (ALGORITHMS.md §2): no code of `bits` bits per
// weight for Gaussian rows of these variances has a smaller expected f.
#pragma once

#include "base/view.h"
#include "solver/tap_hessian.h"

namespace coldpress {

// spectrum: of H, any unit; the result is in that unit times W's squared.
double rate_distortion_bound(View2<const float> w, const Spectrum& spectrum, double bits);

// The same as a share of `energy` = tr(W H W^T), which must be positive.
double relative_bound(View2<const float> w, TapHessian& hessian, double bits, double energy,
                      ThreadPool& pool);

}  // namespace coldpress
