#include "transform/learn_rotation.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "linalg/blas.h"

namespace coldpress {
namespace {

constexpr double kP = 8;
constexpr int64_t kShardRows = 512;
constexpr int64_t kGradientRows = 96;

// The value of one vector's term, and, in place of y = R v, its gradient over y. `weight`: 1 /
// |v|^2 times what makes a flat vector count 1.
double term(float* y, int64_t n, double weight) {
  double largest = 0;
  for (int64_t j = 0; j < n; ++j) largest = std::max<double>(largest, std::fabs(y[j]));
  if (largest == 0) return 0;
  double sum = 0;  // of (|y| / largest)^p
  for (int64_t j = 0; j < n; ++j) {
    const double u = y[j] / largest;
    const double u2 = u * u;
    sum += u2 * u2 * u2 * u2;
  }
  const double norm2 = std::pow(sum, 2 / kP) * largest * largest;
  const double factor = 2 * weight * largest * std::pow(sum, 2 / kP - 1);
  for (int64_t j = 0; j < n; ++j) {
    const double u = y[j] / largest;
    const double u2 = u * u;
    y[j] = static_cast<float>(factor * u2 * u2 * u2 * u);
  }
  return weight * norm2;
}

struct Evaluation {
  double value = 0;
  MatrixF gradient;  // (n, n)
};

// F and, if asked for, its gradient G = sum over v of dF/dy v^T. `y`: scratch of the vectors'
// shape.
Evaluation evaluate(View2<const float> r, View2<const float> vectors, bool with_gradient,
                    View2<float> y, ThreadPool& pool) {
  const int64_t n = r.rows;
  const int64_t shards = (vectors.rows + kShardRows - 1) / kShardRows;
  const double flat = std::pow(static_cast<double>(n), 1 - 2 / kP);
  std::vector<double> values(static_cast<std::size_t>(shards));
  pool.for_each(shards, [&](int64_t s, int) {
    const int64_t first = s * kShardRows;
    const auto v = vectors.row_range(first, std::min(kShardRows, vectors.rows - first));
    const View2<float> of_shard = y.row_range(first, v.rows);
    gemm(Trans::kNo, Trans::kYes, 1.0F, v, r, 0.0F, of_shard);
    for (int64_t i = 0; i < v.rows; ++i) {
      double squares = 0;
      for (int64_t j = 0; j < n; ++j) squares += static_cast<double>(v(i, j)) * v(i, j);
      const double weight = flat / squares / static_cast<double>(vectors.rows);
      values[static_cast<std::size_t>(s)] += term(of_shard.row(i), n, weight);
    }
  });
  Evaluation e;
  for (const double value : values) e.value += value;
  if (!with_gradient) return e;
  e.gradient = MatrixF(n, n);
  pool.for_each((n + kGradientRows - 1) / kGradientRows, [&](int64_t task, int) {
    const int64_t first = task * kGradientRows;
    const int64_t rows = std::min(kGradientRows, n - first);
    gemm(Trans::kYes, Trans::kNo, 1.0F, y.block(0, first, y.rows, rows), vectors, 0.0F,
         e.gradient.view().row_range(first, rows));
  });
  return e;
}

// One step of Newton and Schulz towards the nearest orthogonal matrix.
MatrixF orthogonalised(const MatrixF& r) {
  const int64_t n = r.rows();
  MatrixF square(n, n);
  gemm(Trans::kNo, Trans::kYes, -0.5F, r.view(), r.view(), 0.0F, square.view());
  for (int64_t i = 0; i < n; ++i) square(i, i) += 1.5F;
  MatrixF out(n, n);
  gemm(Trans::kNo, Trans::kNo, 1.0F, square.view(), r.view(), 0.0F, out.view());
  return out;
}

// The Cayley step of length t along A, by its fixed point Y = R - t/2 A (R + Y), which contracts
// since t |A| is below 1.
MatrixF cayley(const MatrixF& r, const MatrixF& a, double t) {
  constexpr int kFixedPointSteps = 6;
  const int64_t n = r.rows();
  MatrixF y = r.clone();
  for (int k = 0; k < kFixedPointSteps; ++k) {
    MatrixF sum(n, n);
    for (int64_t i = 0; i < sum.size(); ++i) sum.data()[i] = r.data()[i] + y.data()[i];
    y = r.clone();
    gemm(Trans::kNo, Trans::kNo, static_cast<float>(-t / 2), a.view(), sum.view(), 1.0F, y.view());
  }
  return orthogonalised(orthogonalised(y));
}

MatrixF skew_part(const MatrixF& g, const MatrixF& r) {
  const int64_t n = r.rows();
  MatrixF product(n, n);
  gemm(Trans::kNo, Trans::kYes, 1.0F, g.view(), r.view(), 0.0F, product.view());
  MatrixF a(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) a(i, j) = product(i, j) - product(j, i);
  }
  return a;
}

// The spectral norm, a little above: by the power method from a fixed start.
double norm_of(const MatrixF& a) {
  constexpr int kPowerSteps = 12;
  constexpr double kMargin = 1.1;
  MatrixF x(a.cols(), 1);
  Rng rng(1);
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(rng.normal());
  double norm = 0;
  for (int k = 0; k < kPowerSteps; ++k) {
    double size = 0;
    for (int64_t i = 0; i < x.size(); ++i) size += std::pow(static_cast<double>(x.data()[i]), 2);
    if (!(size > 0)) return 0;
    const auto inverse = static_cast<float>(1 / std::sqrt(size));
    for (int64_t i = 0; i < x.size(); ++i) x.data()[i] *= inverse;
    MatrixF y(a.rows(), 1);
    gemm(Trans::kNo, Trans::kNo, 1.0F, a.view(), x.view(), 0.0F, y.view());
    norm = 0;
    for (int64_t i = 0; i < y.size(); ++i) norm += std::pow(static_cast<double>(y.data()[i]), 2);
    norm = std::sqrt(norm);
    x = std::move(y);
  }
  return kMargin * norm;
}

}  // namespace

double flatness(View2<const float> r, View2<const float> vectors, ThreadPool& pool) {
  MatrixF y(vectors.rows, vectors.cols);
  return evaluate(r, vectors, false, y.view(), pool).value;
}

MatrixF learn_rotation(MatrixF start, View2<const float> vectors, const LearnOptions& options,
                       ThreadPool& pool) {
  COLDPRESS_CHECK(start.rows() == start.cols() && vectors.cols == start.rows());
  MatrixF r = std::move(start);
  if (vectors.rows == 0) return r;
  MatrixF y(vectors.rows, vectors.cols);
  Evaluation at = evaluate(r.view(), vectors, true, y.view(), pool);
  double share = 0.5;  // of the longest step that contracts
  for (int k = 0; k < options.iterations && share > 1e-4; ++k) {
    const MatrixF a = skew_part(at.gradient, r);
    const double norm = norm_of(a);
    if (!(norm > 0)) break;
    MatrixF next = cayley(r, a, share / norm);
    Evaluation there = evaluate(next.view(), vectors, true, y.view(), pool);
    if (there.value < at.value) {
      r = std::move(next);
      at = std::move(there);
      share = std::min(1.0, share * 1.3);
    } else {
      share *= 0.4;
    }
  }
  return r;
}

}  // namespace coldpress
