// Rotations that are learned instead of drawn (2405.16406's idea on a closed-form objective).
//
// An integer grid over a vector v wastes as much as its largest entry stands out: the squared error
// is n |v|_inf^2 / 12 steps^2. So R is chosen to make the vectors that will be rounded flat,
//
//   minimise  F(R) = mean over v of |R v|_p^2 / |v|_2^2 n^(1 - 2/p),    p = 8 for a smooth maximum,
//
// over orthogonal R. Steps follow the Cayley transform of the gradient's skew part A = G R^T - R
// G^T,
//   R <- (I + t/2 A)^-1 (I - t/2 A) R,
// which stays orthogonal.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "parallel/thread_pool.h"

namespace coldpress {

struct LearnOptions {
  int iterations = 150;
};

// F(R) of the rows of `vectors` (rows, n), of which none is zero.
double flatness(View2<const float> r, View2<const float> vectors, ThreadPool& pool);

// From `start` (n, n), orthogonal, to a rotation of no greater F. The same for any pool.
MatrixF learn_rotation(MatrixF start, View2<const float> vectors, const LearnOptions& options,
                       ThreadPool& pool);

}  // namespace coldpress
