// Error feedback over columns (GPTQ, 2210.17323): the kernel of method gptq and the quick judge of
// starting scales.
#pragma once

#include "base/view.h"
#include "solver/strip.h"
#include "solver/tap_hessian.h"

namespace coldpress {

// q' (n, lanes): columns are rounded in the factor's order, the error of each spread over the later
// ones. Cost: half a product (n x n)(n x lanes).
// free (n, lanes), if given: entries where it is not 0 keep their updated value unrounded.
MatrixF error_feedback(const Strip& strip, const GptqFactor& factor,
                       View2<const uint8_t> free = {});

}  // namespace coldpress
