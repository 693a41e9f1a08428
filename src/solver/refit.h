// Scale refit (ALGORITHMS.md §4): with the codes fixed, the best scales of a row solve a small
// linear system over its groups.
#pragma once

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

// Replaces every row's scales by storable ones (grid/scale_rule.h) that make f small with the codes
// of q' (n, lanes) fixed, and q' by the same codes on them. In fp32 they are the best there are;
// in a narrower type, those of descent from the best over one scale at a time. A row whose system
// is singular, or whose solution strays beyond a factor of 4 or is no better, keeps its scales,
// each rounded to its type. Where the scales were storable, never raises f beyond rounding. Cost:
// a product (n x n)(n x lanes), and another for C w' (n, lanes), which a caller may keep from call
// to call: an empty matrix is filled.
void refit_scales(Strip* strip, View2<float> q, MatrixF* c_w = nullptr);

// The same for the plain distance |t - q'|^2, per group and without cross terms: ADMM's own
// projection with the scales free. Each scale moves by at most 10 %. t, q (n, lanes).
void refit_scales_to(View2<const float> t, Strip* strip, View2<float> q);

}  // namespace coldpress
