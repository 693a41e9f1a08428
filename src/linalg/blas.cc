#include "linalg/blas.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>

namespace coldpress {
namespace {

// OpenBLAS keeps one global thread count; ours is 1, set before the first product.
void single_threaded() {
  static const bool once = (openblas_set_num_threads(1), true);
  (void)once;
}

int dim(int64_t n) {
  COLDPRESS_CHECK(n >= 0 && n < (int64_t{1} << 31));
  return static_cast<int>(n);
}

// Lower triangle of C <- alpha A^T A + beta C, or, without `trans`, alpha A A^T + beta C.
void syrk(CBLAS_TRANSPOSE trans, float alpha, View2<const float> a, float beta, View2<float> c) {
  single_threaded();
  const int64_t n = trans == CblasTrans ? a.cols : a.rows;
  const int64_t depth = trans == CblasTrans ? a.rows : a.cols;
  COLDPRESS_CHECK(c.rows == c.cols && n == c.rows);
  if (n == 0) return;
  cblas_ssyrk(CblasRowMajor, CblasLower, trans, dim(n), dim(depth), alpha, a.data, dim(a.stride),
              beta, c.data, dim(c.stride));
}

}  // namespace

std::string blas_kernels() { return openblas_get_corename(); }

void gemm(Trans ta, Trans tb, float alpha, View2<const float> a, View2<const float> b, float beta,
          View2<float> c) {
  single_threaded();
  const int64_t k = ta == Trans::kNo ? a.cols : a.rows;
  COLDPRESS_CHECK((ta == Trans::kNo ? a.rows : a.cols) == c.rows);
  COLDPRESS_CHECK((tb == Trans::kNo ? b.rows : b.cols) == k);
  COLDPRESS_CHECK((tb == Trans::kNo ? b.cols : b.rows) == c.cols);
  if (c.rows == 0 || c.cols == 0) return;
  cblas_sgemm(CblasRowMajor, ta == Trans::kNo ? CblasNoTrans : CblasTrans,
              tb == Trans::kNo ? CblasNoTrans : CblasTrans, dim(c.rows), dim(c.cols), dim(k), alpha,
              a.data, dim(std::max<int64_t>(1, a.stride)), b.data,
              dim(std::max<int64_t>(1, b.stride)), beta, c.data, dim(c.stride));
}

void syrk_lower(float alpha, View2<const float> a, float beta, View2<float> c) {
  syrk(CblasTrans, alpha, a, beta, c);
}

void syrk_lower_of_rows(float alpha, View2<const float> a, float beta, View2<float> c) {
  syrk(CblasNoTrans, alpha, a, beta, c);
}

void multiply_right(float alpha, View2<const float> l, View2<float> b) {
  single_threaded();
  COLDPRESS_CHECK(l.rows == l.cols && b.cols == l.rows);
  cblas_strmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, dim(b.rows),
              dim(b.cols), alpha, l.data, dim(l.stride), b.data, dim(b.stride));
}

void solve_right_transposed(View2<const float> l, View2<float> b) {
  single_threaded();
  COLDPRESS_CHECK(l.rows == l.cols && b.cols == l.rows);
  cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, dim(b.rows),
              dim(b.cols), 1.0F, l.data, dim(l.stride), b.data, dim(b.stride));
}

void solve_left(View2<const float> l, View2<float> b) {
  single_threaded();
  COLDPRESS_CHECK(l.rows == l.cols && b.rows == l.rows);
  cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, dim(b.rows),
              dim(b.cols), 1.0F, l.data, dim(l.stride), b.data, dim(b.stride));
}

void mirror_lower(View2<float> a) {
  constexpr int64_t kTile = 32;  // keeps both the rows read and the rows written in cache
  for (int64_t i0 = 0; i0 < a.rows; i0 += kTile) {
    for (int64_t j0 = 0; j0 <= i0; j0 += kTile) {
      for (int64_t i = i0; i < std::min(i0 + kTile, a.rows); ++i) {
        for (int64_t j = j0; j < std::min(j0 + kTile, i); ++j) a(j, i) = a(i, j);
      }
    }
  }
}

// LAPACK is column-major: our row-major lower triangle is its upper one.
bool cholesky_lower(View2<float> a) {
  single_threaded();
  const int n = dim(a.rows);
  if (n == 0) return true;
  return LAPACKE_spotrf_work(LAPACK_COL_MAJOR, 'U', n, a.data, dim(a.stride)) == 0;
}

bool invert_lower(View2<float> l) {
  single_threaded();
  const int n = dim(l.rows);
  if (n == 0) return true;
  return LAPACKE_strtri_work(LAPACK_COL_MAJOR, 'U', 'N', n, l.data, dim(l.stride)) == 0;
}

bool invert_spd(View2<float> a) {
  if (!cholesky_lower(a)) return false;
  const int n = dim(a.rows);
  if (n == 0) return true;
  if (LAPACKE_spotri_work(LAPACK_COL_MAJOR, 'U', n, a.data, dim(a.stride)) != 0) return false;
  mirror_lower(a);
  return true;
}

std::vector<float> eigenvalues_symmetric(View2<float> a) {
  single_threaded();
  std::vector<float> values(static_cast<std::size_t>(a.rows));
  if (a.rows == 0) return values;
  if (LAPACKE_ssyevd(LAPACK_COL_MAJOR, 'N', 'U', dim(a.rows), a.data, dim(a.stride),
                     values.data()) != 0) {
    values.clear();
  }
  return values;
}

std::vector<double> tridiagonal_eigenvalues(std::vector<double>* diagonal,
                                            std::vector<double> beside) {
  single_threaded();
  const int n = dim(static_cast<int64_t>(diagonal->size()));
  COLDPRESS_CHECK(beside.size() == diagonal->size());
  std::vector<double> vectors(diagonal->size() * diagonal->size());
  std::vector<double> first(diagonal->size());
  if (n > 0 && LAPACKE_dstev(LAPACK_COL_MAJOR, 'V', n, diagonal->data(), beside.data(),
                             vectors.data(), n) != 0) {
    return {};
  }
  for (std::size_t k = 0; k < first.size(); ++k) {
    const double component = vectors[k * first.size()];
    first[k] = component * component;
  }
  return first;
}

}  // namespace coldpress
