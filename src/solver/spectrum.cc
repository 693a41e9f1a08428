#include "solver/spectrum.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/rng.h"
#include "linalg/blas.h"
#include "linalg/dot.h"

namespace coldpress {
namespace {

constexpr int64_t kProbes = 16;  // random vectors, multiplied together
constexpr int64_t kSteps = 64;   // of Lanczos, at most; no reorthogonalisation: copies of an
                                 // eigenvalue that come of it share its weight
constexpr int64_t kColumnsPerTask = 512;
constexpr uint64_t kSeed = 1;

// A residual this far below the matrix's own size is rounding: the Krylov space is exhausted.
constexpr double kExhausted = 1e-6;

// The symmetric tridiagonal matrix of one probe.
struct Tridiagonal {
  std::vector<double> diagonal;
  std::vector<double> beside;
  double size = 0;  // the largest entry so far
  bool ended = false;
};

// Rows of random signs, of norm 1.
MatrixF random_signs(int64_t rows, int64_t n) {
  Rng rng(kSeed);
  MatrixF v(rows, n);
  const auto one = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)));
  for (int64_t k = 0; k < v.size(); ++k) v.data()[k] = rng.below(2) == 0 ? one : -one;
  return v;
}

// w <- w - alpha v - beta before, row by row, and its norm.
double subtract(float* w, double alpha, const float* v, double beta, const float* before,
                int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    w[j] = static_cast<float>(static_cast<double>(w[j]) - alpha * static_cast<double>(v[j]) -
                              beta * static_cast<double>(before[j]));
  }
  return std::sqrt(dot(w, w, n));
}

std::vector<Tridiagonal> lanczos(View2<const float> c, std::span<const float> d, ThreadPool& pool) {
  const int64_t n = c.rows;
  std::vector<Tridiagonal> all(static_cast<std::size_t>(kProbes));
  MatrixF v = random_signs(kProbes, n);
  MatrixF before(kProbes, n);
  MatrixF w(kProbes, n);
  MatrixF scaled(kProbes, n);
  const auto times_d = [&](const MatrixF& from, MatrixF* to) {
    for (int64_t p = 0; p < kProbes; ++p) {
      for (int64_t j = 0; j < n; ++j) (*to)(p, j) = from(p, j) * d[static_cast<std::size_t>(j)];
    }
  };
  for (int64_t step = 0; step < std::min(kSteps, n); ++step) {
    times_d(v, &scaled);
    pool.for_each((n + kColumnsPerTask - 1) / kColumnsPerTask, [&](int64_t task, int) {
      const int64_t first = task * kColumnsPerTask;
      const int64_t count = std::min(kColumnsPerTask, n - first);
      gemm(Trans::kNo, Trans::kNo, 1.0F, scaled.view(), c.block(0, first, n, count), 0.0F,
           w.view().block(0, first, kProbes, count));
    });
    times_d(w, &w);
    for (int64_t p = 0; p < kProbes; ++p) {
      Tridiagonal& t = all[static_cast<std::size_t>(p)];
      if (t.ended) continue;
      const double beta_before = t.beside.empty() ? 0 : t.beside.back();
      const double alpha = dot(w.row(p), v.row(p), n);
      const double beta = subtract(w.row(p), alpha, v.row(p), beta_before, before.row(p), n);
      t.diagonal.push_back(alpha);
      t.size = std::max({t.size, std::abs(alpha), beta});
      t.ended = !(beta > kExhausted * t.size);
      if (t.ended) continue;
      t.beside.push_back(beta);
      std::copy_n(v.row(p), n, before.row(p));
      for (int64_t j = 0; j < n; ++j) {
        v(p, j) = static_cast<float>(static_cast<double>(w(p, j)) / beta);
      }
    }
  }
  return all;
}

}  // namespace

double Spectrum::largest() const {
  return value.empty() ? 0 : *std::max_element(value.begin(), value.end());
}

Spectrum exact_spectrum(View2<const float> c, std::span<const float> d) {
  MatrixF a(c.rows, c.cols);
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      a(i, j) = c(i, j) * d[static_cast<std::size_t>(i)] * d[static_cast<std::size_t>(j)];
    }
  }
  Spectrum spectrum;
  for (const float v : eigenvalues_symmetric(a.view())) {
    spectrum.value.push_back(std::max(static_cast<double>(v), 0.0));
    spectrum.share.push_back(1.0 / static_cast<double>(c.rows));
  }
  return spectrum;
}

Spectrum estimated_spectrum(View2<const float> c, std::span<const float> d, ThreadPool& pool) {
  Spectrum spectrum;
  for (Tridiagonal& t : lanczos(c, d, pool)) {
    t.beside.resize(t.diagonal.size());  // the last one leads out of the matrix
    const std::vector<double> shares = tridiagonal_eigenvalues(&t.diagonal, t.beside);
    if (shares.empty()) return {};
    for (std::size_t k = 0; k < shares.size(); ++k) {
      spectrum.value.push_back(std::max(t.diagonal[k], 0.0));
      spectrum.share.push_back(shares[k] / static_cast<double>(kProbes));
    }
  }
  return spectrum;
}

}  // namespace coldpress
