// Factors and inverses of symmetric positive definite matrices on all threads: blocks of fixed size
// are the tasks, so the bytes are the same for any number of threads. In place, beside a row of
// blocks. A block alone is LAPACK's (linalg/blas.h).
//
// `pool` is free: none of its tasks is running, least of all the caller.
#pragma once

#include "base/view.h"
#include "parallel/thread_pool.h"

namespace coldpress {

// The lower triangle of SPD `a` becomes its Cholesky factor L, a = L L^T; the strict upper one is
// left as it was. False if `a` is not numerically positive definite.
bool cholesky_lower(View2<float> a, ThreadPool& pool);

// The lower triangular factor becomes its inverse; the strict upper triangle is left as it was.
// False if singular.
bool invert_lower(View2<float> l, ThreadPool& pool);

// SPD matrix (lower triangle read) becomes its full symmetric inverse. False if not SPD.
bool invert_spd(View2<float> a, ThreadPool& pool);

}  // namespace coldpress
