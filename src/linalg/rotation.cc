#include "linalg/rotation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/rng.h"
#include "linalg/blas.h"

namespace coldpress {
namespace {

// x (n) <- M x or M^T x by runs of `size`, M (size, size).
template <typename M, typename T>
void multiply_runs(const M* m, int64_t size, bool transposed, int64_t n, T* x) {
  std::vector<double> out(static_cast<std::size_t>(size));
  for (T* run = x; run < x + n; run += size) {
    std::fill(out.begin(), out.end(), 0.0);
    for (int64_t a = 0; a < size; ++a) {
      const M* row = m + a * size;
      double sum = 0;
      for (int64_t b = 0; b < size; ++b) {
        if (transposed) {
          out[static_cast<std::size_t>(b)] += static_cast<double>(row[b]) * run[a];
        } else {
          sum += static_cast<double>(row[b]) * run[b];
        }
      }
      if (!transposed) out[static_cast<std::size_t>(a)] = sum;
    }
    for (int64_t i = 0; i < size; ++i) run[i] = static_cast<T>(out[static_cast<std::size_t>(i)]);
  }
}

constexpr int64_t kGemmTile = 256;  // rows or columns that a dense rotation takes at once

// The unnormalised Walsh-Hadamard transform over runs of `size` values.
template <typename T>
void butterflies(T* x, int64_t n, int64_t size) {
  for (int64_t h = size; h < n; h *= 2) {
    for (int64_t at = 0; at < n; at += 2 * h) {
      T* a = x + at;
      T* b = a + h;
      for (int64_t i = 0; i < h; ++i) {
        const T sum = a[i] + b[i];
        b[i] = a[i] - b[i];
        a[i] = sum;
      }
    }
  }
}

template <typename T>
void scale(T* x, int64_t n, double by) {
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(x[i] * by);
}

template <typename T>
void flip(const std::vector<float>& signs, T* x) {
  for (std::size_t i = 0; i < signs.size(); ++i) x[i] *= static_cast<T>(signs[i]);
}

}  // namespace

Rotation Rotation::hadamard(int64_t n, uint64_t seed, uint64_t stream) {
  COLDPRESS_CHECK(n > 0);
  Rotation r;
  r.n_ = n;
  r.odd_ = n;
  while (r.odd_ % 2 == 0) r.odd_ /= 2;
  Rng rng(seed, stream);
  for (int64_t i = 0; i < n; ++i) r.signs_.push_back(rng.below(2) == 0 ? 1.0F : -1.0F);
  if (r.odd_ == 1) return r;
  const auto m = static_cast<double>(r.odd_);
  for (int64_t i = 0; i < r.odd_; ++i) {
    for (int64_t j = 0; j < r.odd_; ++j) {
      const double angle = 6.283185307179586 * static_cast<double>(i * j % r.odd_) / m;
      r.inner_.push_back((std::cos(angle) + std::sin(angle)) / std::sqrt(m));
    }
  }
  return r;
}

Rotation Rotation::dense(MatrixF q) {
  COLDPRESS_CHECK(q.rows() == q.cols());
  Rotation r;
  r.n_ = q.rows();
  r.odd_ = q.rows();
  r.dense_ = std::move(q);
  return r;
}

template <typename T>
void Rotation::apply(T* x) const {
  flip(signs_, x);
  if (!dense_.empty()) return multiply_runs(dense_.data(), n_, false, n_, x);
  if (!inner_.empty()) multiply_runs(inner_.data(), odd_, false, n_, x);
  butterflies(x, n_, odd_);
  if (n_ > odd_) scale(x, n_, 1.0 / std::sqrt(static_cast<double>(n_ / odd_)));
}

template <typename T>
void Rotation::apply_transposed(T* x) const {
  if (!dense_.empty()) return multiply_runs(dense_.data(), n_, true, n_, x);
  butterflies(x, n_, odd_);
  if (n_ > odd_) scale(x, n_, 1.0 / std::sqrt(static_cast<double>(n_ / odd_)));
  if (!inner_.empty()) multiply_runs(inner_.data(), odd_, true, n_, x);
  flip(signs_, x);
}

template void Rotation::apply(float* x) const;
template void Rotation::apply(double* x) const;
template void Rotation::apply_transposed(float* x) const;
template void Rotation::apply_transposed(double* x) const;

MatrixF Rotation::matrix() const {
  MatrixF m(n_, n_);
  for (int64_t i = 0; i < n_; ++i) m(i, i) = 1.0F;
  to_columns(m.view());
  return m;
}

void Rotation::multiply_rows(View2<float> m, bool transposed) const {
  COLDPRESS_CHECK(m.cols == n_);
  for (int64_t first = 0; first < m.rows && !dense_.empty(); first += kGemmTile) {
    const View2<float> rows = m.row_range(first, std::min(kGemmTile, m.rows - first));
    MatrixF out(rows.rows, n_);
    gemm(Trans::kNo, transposed ? Trans::kNo : Trans::kYes, 1.0F, rows, dense_.view(), 0.0F,
         out.view());
    for (int64_t i = 0; i < rows.rows; ++i) std::copy_n(out.row(i), n_, rows.row(i));
  }
  if (!dense_.empty()) return;
  for (int64_t i = 0; i < m.rows; ++i) {
    if (transposed) {
      apply_transposed(m.row(i));
    } else {
      apply(m.row(i));
    }
  }
}

void Rotation::to_rows(View2<float> m) const { multiply_rows(m, false); }

void Rotation::to_rows_back(View2<float> m) const { multiply_rows(m, true); }

void Rotation::to_columns(View2<float> m) const {
  COLDPRESS_CHECK(m.rows == n_);
  for (int64_t first = 0; first < m.cols && !dense_.empty(); first += kGemmTile) {
    const View2<float> columns = m.block(0, first, n_, std::min(kGemmTile, m.cols - first));
    MatrixF out(n_, columns.cols);
    gemm(Trans::kNo, Trans::kNo, 1.0F, dense_.view(), columns, 0.0F, out.view());
    for (int64_t i = 0; i < n_; ++i) std::copy_n(out.row(i), columns.cols, columns.row(i));
  }
  if (!dense_.empty()) return;
  constexpr int64_t kTile = 16;  // columns that are gathered at once: a cache line of each row
  MatrixF tile(kTile, n_);
  for (int64_t first = 0; first < m.cols; first += kTile) {
    const int64_t count = std::min(kTile, m.cols - first);
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < count; ++j) tile(j, i) = m(i, first + j);
    }
    for (int64_t j = 0; j < count; ++j) apply(tile.row(j));
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < count; ++j) m(i, first + j) = tile(j, i);
    }
  }
}

}  // namespace coldpress
