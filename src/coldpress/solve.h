// One linear layer: codes and scales whose weight gives nearly the same outputs on the inputs that
// H was measured on. For other pipelines that need a solver in the place of GPTQ's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "coldpress/method.h"

namespace coldpress {

// weight(i, j) = scales(i, g) * (value - zeros(i, g)) with g = j / group, where value is
// codes(i, j), or levels[codes(i, j)] of a grid that has levels. Methods with outliers then put
// fp16 numbers in place of some weights, or of some columns.
struct SolvedLayer {
  Matrix<uint8_t> codes;      // (out, in)
  MatrixF scales;             // (out, groups), each a number that MethodOptions::scale_type holds
  MatrixF zeros;              // (out, groups)
  std::vector<float> levels;  // of grid nf4 or fp4, ascending; else empty
  int64_t group = 0;          // weights per scale, >= 1
  MatrixF weight;             // (out, in)
  // Parts of tr(W H W^T): |XW - XQ|^2 / |XW|^2 where H = X^T X, up to a factor.
  double error = 0;
  double rtn_error = 0;        // of rounding to the nearest value of the same grid
  double bound = 0;            // no code of so many bits is expected to have a smaller error
  double bits_per_weight = 0;  // scales, zeros and outliers counted
  double damping = 0;          // what was added to H to factorise it, in parts of mean diag(H)
  int64_t rows_from_rtn = 0;   // rows where rounding was as good
  std::string fallback;        // what the method had to give up, in one sentence; mostly empty
};

// w: (out, in), finite. h: (in, in), symmetric positive semidefinite, the sum of x x^T over inputs
// x, in any unit. Both are only read. threads: 0 takes all cores; the result does not depend on it.
// What is wrong with an argument is kInvalidArgument.
Result<SolvedLayer> solve_layer(View2<const float> w, View2<const float> h,
                                const MethodOptions& options, int threads = 0);

}  // namespace coldpress
