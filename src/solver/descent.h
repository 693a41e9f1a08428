// Cyclic coordinate descent from the weights or from given codes: QuantEase's whole method
// (2309.01885), and a candidate of ADMM-Q.
#pragma once

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

// q' (n, lanes) after at most `sweeps` sweeps. From the problem's codes, where it has some, no
// sweep raises f; from the weights, every third of the first 25 sweeps leaves the columns off the
// grid. Ends early when no code moves. Cost: one product (n x n)(n x lanes) per sweep.
MatrixF coordinate_descent(const Strip& strip, int sweeps);

}  // namespace coldpress
