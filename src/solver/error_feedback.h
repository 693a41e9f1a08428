// Error feedback over columns (GPTQ, 2210.17323): the kernel of method gptq and the quick judge of
// starting scales.
#pragma once

#include <cstdint>
#include <vector>

#include "base/view.h"
#include "solver/strip.h"
#include "solver/tap_hessian.h"

namespace coldpress {

struct Feedback {
  MatrixF q;    // q' (n, lanes)
  MatrixF err;  // (n, lanes), in solving order: U^-T e', whose squares sum to e'^T (C + damping) e'
};

// Columns are rounded in the factor's order, the error of each spread over the later ones. Cost:
// half a product (n x n)(n x lanes). free (n, lanes), if given: entries where it is not 0 keep
// their updated value unrounded.
Feedback error_feedback(const Strip& strip, const GptqFactor& factor,
                        View2<const uint8_t> free = {});

// f of each row, up to the factor's rounding and without a product: |err|^2 less what damping is of
// it. In the row's frame, so that only points of one row can be compared.
std::vector<double> estimated_errors(const Strip& strip, const GptqFactor& factor,
                                     const Feedback& feedback);

}  // namespace coldpress
