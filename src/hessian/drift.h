// How far a tap's inputs have moved from those of the unquantised model, by the errors of what was
// quantised before it (QEP, 2504.09629; GPTAQ, 2504.02692). Raw sums over tokens, as in
// hessian/gram.h; x is the unquantised model's input, x^ the input that the tap has now. Two sums,
// over windows of even and of odd number, so that what one half tells can be tried on the other.
#pragma once

#include <array>
#include <cstdint>

#include "base/view.h"
#include "hessian/gram.h"

namespace coldpress {

struct DriftHalf {
  Gram gram;         // sum x^ x^^T
  MatrixD input;     // (n, n): sum (x - x^) x^^T
  MatrixD residual;  // (hidden, n): sum (r - r^) x^^T of the residual stream that the tap's linears
                     // add to; empty: they add to none, or not linearly
};

struct Drift {
  std::array<DriftHalf, 2> halves;

  bool is_measured() const { return halves[0].input.rows() > 0; }
};

}  // namespace coldpress
