// Dense linear algebra on CBLAS/LAPACKE. Every call is single-threaded: callers cut their work into
// fixed tasks (parallel/thread_pool.h), so that results never depend on the thread count.
//
// All matrices are row-major fp32 unless stated. Outputs never alias inputs.
#pragma once

#include <string>
#include <vector>

#include "base/view.h"

namespace coldpress {

enum class Trans { kNo, kYes };

// Whose kernels multiply here, in one word: another processor's round their sums differently.
std::string blas_kernels();

// C <- alpha op(A) op(B) + beta C.
void gemm(Trans ta, Trans tb, float alpha, View2<const float> a, View2<const float> b, float beta,
          View2<float> c);

// Lower triangle of C (n, n) <- alpha A^T A + beta C, with A (t, n).
void syrk_lower(float alpha, View2<const float> a, float beta, View2<float> c);

// The same with A A^T, A (n, t).
void syrk_lower_of_rows(float alpha, View2<const float> a, float beta, View2<float> c);

// With lower triangular L, whose strict upper triangle is not read: B <- alpha B L, B <- B L^-T,
// B <- L^-1 B.
void multiply_right(float alpha, View2<const float> l, View2<float> b);
void solve_right_transposed(View2<const float> l, View2<float> b);
void solve_left(View2<const float> l, View2<float> b);

// Copies the lower triangle of a square matrix onto its upper one.
void mirror_lower(View2<float> a);

// In place: lower triangle of SPD `a` becomes its Cholesky factor L, a = L L^T. The strict upper
// triangle is left as it was. False if `a` is not numerically positive definite.
bool cholesky_lower(View2<float> a);

// In place: the lower triangular factor becomes its inverse. False if singular.
bool invert_lower(View2<float> l);

// In place: SPD matrix (lower triangle read) becomes its full symmetric inverse. False if not SPD.
bool invert_spd(View2<float> a);

// Eigenvalues of a symmetric matrix (lower triangle read; destroyed), ascending. Empty on failure.
std::vector<float> eigenvalues_symmetric(View2<float> a);

// In place: the diagonal of a symmetric tridiagonal matrix becomes its eigenvalues, ascending.
// `beside`: what stands beside it, as long, the last one ignored. Returns the square of each
// eigenvector's first component; empty on failure.
std::vector<double> tridiagonal_eigenvalues(std::vector<double>* diagonal,
                                            std::vector<double> beside);

}  // namespace coldpress
