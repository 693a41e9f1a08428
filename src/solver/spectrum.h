// The eigenvalues of a symmetric positive semidefinite matrix, as a distribution.
#pragma once

#include <span>
#include <vector>

#include "base/view.h"
#include "parallel/thread_pool.h"

namespace coldpress {

struct Spectrum {
  std::vector<double> value;  // >= 0; empty where no method converged
  std::vector<double> share;  // of all eigenvalues; sums to 1

  double largest() const;
};

// Of diag(d) C diag(d), C (n, n) symmetric: every eigenvalue, in O(n^3) on one thread.
Spectrum exact_spectrum(View2<const float> c, std::span<const float> d);

// The same in O(n^2), by stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017): a few hundred
// values whose weighted sums of smooth functions are nearly those of all eigenvalues. Means of
// logarithms come out within about 1 / sqrt(n) of a bit, less well where many eigenvalues are 0;
// the largest value is one from below, within 1 %. The same result every time.
Spectrum estimated_spectrum(View2<const float> c, std::span<const float> d, ThreadPool& pool);

}  // namespace coldpress
