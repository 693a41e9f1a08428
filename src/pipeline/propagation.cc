#include "pipeline/propagation.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "linalg/blas.h"
#include "linalg/dot.h"
#include "linalg/spd.h"
#include "solver/strip.h"

namespace coldpress {
namespace {

constexpr double kDamping = 0.01;  // l, of mean diag(H)

// A strip of rows of a sum, times `factor`.
MatrixF scaled(const MatrixD& sum, StripRange range, double factor) {
  MatrixF m(range.rows, sum.cols());
  const double* from = sum.row(range.row0);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(from[i] * factor);
  return m;
}

void multiply(const MatrixF& a, const MatrixF& b, View2<float> c) {
  gemm(Trans::kNo, Trans::kNo, 1.0F, a.view(), b.view(), 0.0F, c);
}

// (H + l I)^-1, in place of H.
std::optional<MatrixF> damped_inverse(MatrixF h, ThreadPool& pool) {
  double trace = 0;
  for (int64_t i = 0; i < h.rows(); ++i) trace += static_cast<double>(h(i, i));
  const auto damping = static_cast<float>(kDamping * trace / static_cast<double>(h.rows()));
  for (int64_t i = 0; i < h.rows(); ++i) h(i, i) += damping;
  if (!invert_spd(h.view(), pool)) return std::nullopt;
  return h;
}

// How well regressions of one half, D_A (H_A + l I)^-1, predict the other half's drift, row by row.
struct Trial {
  std::vector<double> cross;
  std::vector<double> energy;

  explicit Trial(int64_t rows)
      : cross(static_cast<std::size_t>(rows)), energy(static_cast<std::size_t>(rows)) {}
};

// The drift over windows of even (0), or of odd number (1).
struct Half {
  const MatrixD& drift;
  int64_t tokens;
  double per_token() const { return 1.0 / static_cast<double>(tokens); }
};

std::array<Half, 2> halves_of(const TapSums& sums) {
  const int64_t even = sums.drift.even.tokens();
  return {Half{sums.drift.halves[0], even}, Half{sums.drift.halves[1], sums.gram.tokens() - even}};
}

MatrixF hessian_of(const TapSums& sums, std::size_t half) {
  return half == 0 ? sums.drift.even.normalised() : sums.gram.normalised_without(sums.drift.even);
}

// Adds what the regression of `a` is worth on `b`. `inverse`: (H_A + l I)^-1; `h`: H_B. Strip by
// strip, as the matrices may be large.
void try_on(const Half& a, const MatrixF& inverse, const Half& b, const MatrixF& h,
            ThreadPool& pool, Trial& trial) {
  const std::vector<StripRange> strips = cut_into_strips(a.drift.rows());
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    MatrixF of_strip = scaled(a.drift, range, a.per_token());
    MatrixF t(of_strip.rows(), of_strip.cols());
    multiply(of_strip, inverse, t.view());
    multiply(t, h, of_strip.view());
    const MatrixF wanted = scaled(b.drift, range, b.per_token());
    for (int64_t i = 0; i < range.rows; ++i) {
      const auto row = static_cast<std::size_t>(range.row0 + i);
      trial.energy[row] += dot(of_strip.row(i), t.row(i), t.cols());
      trial.cross[row] += dot(wanted.row(i), t.row(i), t.cols());
    }
  });
}

// The factor of each row with which both halves predict best together.
std::vector<double> best_shares(const Trial& trial) {
  std::vector<double> shares(trial.cross.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (trial.energy[i] > 0) shares[i] = std::clamp(trial.cross[i] / trial.energy[i], 0.0, 1.0);
  }
  return shares;
}

// The drift of all windows times the inverse; each row times its share and `factor`.
MatrixF regression(const Drift& drift, const std::vector<double>& shares, double factor,
                   const MatrixF& inverse, ThreadPool& pool) {
  const auto& even = drift.halves[0];
  const auto& odd = drift.halves[1];
  MatrixF out(even.rows(), even.cols());
  const std::vector<StripRange> strips = cut_into_strips(even.rows());
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    MatrixF sum(range.rows, even.cols());
    for (int64_t i = 0; i < range.rows; ++i) {
      const int64_t row = range.row0 + i;
      const double share = shares[static_cast<std::size_t>(row)] * factor;
      for (int64_t j = 0; j < even.cols(); ++j) {
        sum(i, j) = static_cast<float>((even(row, j) + odd(row, j)) * share);
      }
    }
    multiply(sum, inverse, out.view().row_range(range.row0, range.rows));
  });
  return out;
}

}  // namespace

TargetShift::TargetShift(const TapSums& sums, double residual_scale, ThreadPool& pool) {
  if (!sums.drift.is_measured()) return;
  const std::array<Half, 2> halves = halves_of(sums);
  if (halves[0].tokens == 0 || halves[1].tokens == 0) return;
  Trial trial(halves[0].drift.rows());
  for (const std::size_t a : {0U, 1U}) {
    const std::optional<MatrixF> inverse = damped_inverse(hessian_of(sums, a), pool);
    if (!inverse) return;
    try_on(halves[a], *inverse, halves[1 - a], hessian_of(sums, 1 - a), pool, trial);
  }
  const std::optional<MatrixF> inverse = damped_inverse(sums.gram.normalised(), pool);
  if (!inverse) return;
  shares_ = best_shares(trial);
  is_of_stream_ = sums.drift.is_of_stream;
  const double factor =
      1.0 / (static_cast<double>(sums.gram.tokens()) * (is_of_stream_ ? residual_scale : 1.0));
  shift_ = regression(sums.drift, shares_, factor, *inverse, pool);
}

void TargetShift::apply(View2<float> w, ThreadPool& pool) const {
  if (shift_.rows() == 0) return;
  const std::vector<StripRange> strips = cut_into_strips(w.rows);
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    const View2<float> rows = w.row_range(range.row0, range.rows);
    MatrixF moved;
    View2<const float> add = shift_.view().row_range(0, 0);
    if (is_of_stream_) {
      add = shift_.view().row_range(range.row0, range.rows);
    } else {
      moved = MatrixF(rows.rows, rows.cols);
      gemm(Trans::kNo, Trans::kNo, 1.0F, rows, shift_.view(), 0.0F, moved.view());
      add = moved.view();
    }
    for (int64_t i = 0; i < rows.rows; ++i) {
      float* row = rows.row(i);
      for (int64_t j = 0; j < rows.cols; ++j) row[j] += add(i, j);
    }
  });
}

}  // namespace coldpress
