// How far a Gram's off-diagonal entries can be believed.
//
// A solver makes one weight's error good by others', as far as H says that their inputs go
// together. With few tokens for each column some of that is chance, and a solver that exploits it
// does well on the calibration text alone. So products of different inputs are shrunk, those of an
// input with itself are kept:
//
//   H_ij <- (1 - share) H_ij   for i != j,     share = min(1/2, 10 n / tokens)
//
// (a linear shrinkage towards the diagonal, as in Ledoit and Wolf 2004, with one constant, found by
// measurement: docs/numerics.md). n: columns of H.
//
// Which inputs differ is a matter of the basis. A rotation mixes all of them, so that hardly
// anything of what H tells is left on the diagonal; inputs that were rotated are therefore told
// apart as the source model has them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/view.h"
#include "linalg/rotation.h"
#include "parallel/thread_pool.h"

namespace coldpress {

double off_diagonal_share(int64_t n, int64_t tokens);

// How a tap's inputs come of the source model's: x = D^-1 R x0.
struct TapBasis {
  RotationBlocks rotations;   // R
  std::vector<float> scales;  // D, (n), positive; empty: the identity
};

// h (n, n), both triangles; 0 <= share <= 1. With a basis, products of different x0 are shrunk.
void shrink_off_diagonal(View2<float> h, double share);
void shrink_off_diagonal(View2<float> h, double share, const TapBasis& basis, ThreadPool& pool);

}  // namespace coldpress
