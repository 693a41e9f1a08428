// How far the pressed model has drifted from the unquantised one at a tap, by the errors of what
// was quantised before it (QEP, 2504.09629; GPTAQ, 2504.02692). Raw sums over tokens, as in
// hessian/gram.h; x is the unquantised model's input, x^ the input that the tap has now. Two sums,
// over windows of even and of odd number, so that what one half tells can be tried on the other.
#pragma once

#include <array>
#include <cstdint>

#include "base/view.h"
#include "hessian/gram.h"

namespace coldpress {

struct Drift {
  Gram even;  // sum x^ x^^T over even windows; of the odd ones: the tap's, less it
  std::array<MatrixD, 2> halves;  // sum d x^^T over windows of even, of odd number
  // False: d = x - x^, (n, n). True, where the tap's one linear W adds s W x to the residual stream
  // r: d = r + s W x - (r^ + s W x^), (hidden, n), how far the stream would be off with W as it is.
  bool is_of_stream = false;

  bool is_measured() const { return even.n() > 0; }
};

}  // namespace coldpress
