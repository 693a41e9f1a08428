// Random layer problems for the solver tests, and the double-precision oracle of their objective.
#pragma once

#include <cmath>
#include <string>

#include "base/rng.h"
#include "base/view.h"
#include "grid/table.h"
#include "solver/table.h"

namespace coldpress::testing {

enum class HessianKind {
  kCorrelated,  // activations with a decaying spectrum
  kIdentity,
  kZero,
  kRankOne,
  kSingular,  // fewer tokens than columns
  kScaled,    // columns from 1e-10 to 1e+10 (H from 1e-20 to 1e+20)
  kHuge,      // H times 1e+20
  kTiny,      // H times 1e-20
  kDead,      // a third of the columns never active
};

inline MatrixF random_weights(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed, 1);
  MatrixF w(rows, cols);
  for (int64_t k = 0; k < w.size(); ++k) w.data()[k] = static_cast<float>(0.05 * rng.normal());
  return w;
}

// X^T X of x (tokens, n), its lower triangle; tokens are added in their order. By pointers and
// without sanitizers, under which it would be most of a test's time.
__attribute__((no_sanitize("address", "undefined"))) inline MatrixD lower_gram(const MatrixD& x) {
  const int64_t n = x.cols();
  MatrixD gram(n, n);
  for (int64_t t = 0; t < x.rows(); ++t) {
    const double* token = x.row(t);
    for (int64_t i = 0; i < n; ++i) {
      const double value = token[i];
      double* sum = gram.row(i);
      for (int64_t j = 0; j <= i; ++j) sum[j] += value * token[j];
    }
  }
  return gram;
}

inline MatrixF random_hessian(int64_t n, HessianKind kind, uint64_t seed) {
  Rng rng(seed, 2);
  int64_t tokens = 4 * n;
  if (kind == HessianKind::kRankOne) tokens = 1;
  if (kind == HessianKind::kSingular) tokens = n / 2 + 1;
  MatrixD x(tokens, n);
  for (int64_t t = 0; t < tokens; ++t) {
    const double common = rng.normal();  // correlates the columns
    for (int64_t j = 0; j < n; ++j) {
      double v = rng.normal() + 1.5 * common;
      if (kind == HessianKind::kScaled) {
        v *= std::pow(10.0, -10.0 + 20.0 * static_cast<double>(j) / static_cast<double>(n));
      }
      if (kind == HessianKind::kHuge) v *= 1e10;
      if (kind == HessianKind::kTiny) v *= 1e-10;
      if (kind == HessianKind::kDead && j % 3 == 0) v = 0;
      x(t, j) = v;
    }
  }
  const MatrixD sum = lower_gram(x);
  MatrixF h(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      if (kind == HessianKind::kZero) continue;
      if (kind == HessianKind::kIdentity) {
        h(i, j) = i == j ? 1.0F : 0.0F;
        continue;
      }
      h(i, j) = static_cast<float>(sum(i, j) / static_cast<double>(tokens));
      h(j, i) = h(i, j);
    }
  }
  return h;
}

// tr((Q - W) H (Q - W)^T), naively, in double.
inline double oracle_error(View2<const float> w, View2<const float> q, View2<const float> h) {
  double f = 0;
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) {
      double g = 0;
      for (int64_t k = 0; k < w.cols; ++k) {
        g += (static_cast<double>(q(i, k)) - w(i, k)) * static_cast<double>(h(k, j));
      }
      f += g * (static_cast<double>(q(i, j)) - w(i, j));
    }
  }
  return f;
}

struct Fixture {
  MatrixF w;
  MatrixF h;
  TapHessian hessian;
  QuantGrid grid;
};

inline Fixture make_fixture(int64_t rows, int64_t cols, HessianKind kind, uint64_t seed,
                            const GridOptions& options) {
  MatrixF w = random_weights(rows, cols, seed);
  MatrixF h = random_hessian(cols, kind, seed);
  TapHessian hessian = TapHessian::create("test tap", h.view()).value();
  QuantGrid grid = (*find_grid(options.kind))->fit(options, w.view(), hessian.diagonal());
  return {std::move(w), std::move(h), std::move(hessian), std::move(grid)};
}

inline double decoded_error(const Fixture& f, const LayerSolution& s) {
  MatrixF q(f.w.rows(), f.w.cols());
  decode(s.grid, s.codes.view(), q.view());
  return oracle_error(f.w.view(), q.view(), f.h.view());
}

}  // namespace coldpress::testing
