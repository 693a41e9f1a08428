#include "pipeline/propagation.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "linalg/blas.h"
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

double dot(const MatrixF& a, const MatrixF& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    sum += static_cast<double>(a.data()[i]) * static_cast<double>(b.data()[i]);
  }
  return sum;
}

// (H + l I)^-1, in place of H.
std::optional<MatrixF> damped_inverse(MatrixF h) {
  double trace = 0;
  for (int64_t i = 0; i < h.rows(); ++i) trace += static_cast<double>(h(i, i));
  const auto damping = static_cast<float>(kDamping * trace / static_cast<double>(h.rows()));
  for (int64_t i = 0; i < h.rows(); ++i) h(i, i) += damping;
  if (!invert_spd(h.view())) return std::nullopt;
  return h;
}

// How well one half's regression D_A (H_A + l I)^-1 predicts the other half's drift.
struct Trial {
  double cross = 0;
  double energy = 0;
};

double per_token(const DriftHalf& half) { return 1.0 / static_cast<double>(half.gram.tokens()); }

// `inverse`: (H_A + l I)^-1; `h`: H_B. Strip by strip, as the matrices may be large.
Trial try_on(const DriftHalf& a, const MatrixF& inverse, const DriftHalf& b, const MatrixF& h,
             MatrixD DriftHalf::*drift, ThreadPool& pool) {
  const std::vector<StripRange> strips = cut_into_strips((a.*drift).rows());
  std::vector<Trial> parts(strips.size());
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    MatrixF of_strip = scaled(a.*drift, range, per_token(a));
    MatrixF t(of_strip.rows(), of_strip.cols());
    multiply(of_strip, inverse, t.view());
    multiply(t, h, of_strip.view());
    Trial& part = parts[static_cast<std::size_t>(s)];
    part.energy = dot(of_strip, t);
    part.cross = dot(t, scaled(b.*drift, range, per_token(b)));
  });
  Trial trial;
  for (const Trial& part : parts) {
    trial.cross += part.cross;
    trial.energy += part.energy;
  }
  return trial;
}

// The factor with which both predict best together.
double best_share(const std::array<Trial, 2>& trials) {
  const double cross = trials[0].cross + trials[1].cross;
  const double energy = trials[0].energy + trials[1].energy;
  return energy > 0 ? std::clamp(cross / energy, 0.0, 1.0) : 0.0;
}

// The drift of all windows, times `factor` and the inverse.
MatrixF regression(const Drift& drift, MatrixD DriftHalf::*part, double factor,
                   const MatrixF& inverse, ThreadPool& pool) {
  const MatrixD& even = drift.halves[0].*part;
  const MatrixD& odd = drift.halves[1].*part;
  MatrixF out(even.rows(), even.cols());
  const std::vector<StripRange> strips = cut_into_strips(even.rows());
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    MatrixF sum(range.rows, even.cols());
    for (int64_t i = 0; i < sum.size(); ++i) {
      sum.data()[i] =
          static_cast<float>((even.row(range.row0)[i] + odd.row(range.row0)[i]) * factor);
    }
    multiply(sum, inverse, out.view().row_range(range.row0, range.rows));
  });
  return out;
}

}  // namespace

TargetShift::TargetShift(const TapSums& sums, double residual_scale, ThreadPool& pool) {
  const auto& halves = sums.drift.halves;
  if (!sums.drift.is_measured()) return;
  if (halves[0].gram.tokens() == 0 || halves[1].gram.tokens() == 0) return;
  std::array<std::optional<MatrixF>, 3> inverses;  // of the halves, of all windows
  pool.for_each(3, [&](int64_t task, int) {
    const auto at = static_cast<std::size_t>(task);
    inverses[at] = damped_inverse((at < 2 ? halves[at].gram : sums.gram).normalised());
  });
  if (!inverses[0] || !inverses[1] || !inverses[2]) return;
  const bool has_residual = halves[0].residual.rows() > 0;
  std::array<Trial, 2> of_input;
  std::array<Trial, 2> of_residual;
  for (const std::size_t a : {0U, 1U}) {
    const DriftHalf& other = halves[1 - a];
    const MatrixF h = other.gram.normalised();
    of_input[a] = try_on(halves[a], *inverses[a], other, h, &DriftHalf::input, pool);
    if (has_residual) {
      of_residual[a] = try_on(halves[a], *inverses[a], other, h, &DriftHalf::residual, pool);
    }
    inverses[a].reset();
  }
  input_share_ = best_share(of_input);
  residual_share_ = best_share(of_residual);
  const MatrixF& inverse = *inverses[2];
  const double factor = 1.0 / static_cast<double>(sums.gram.tokens());
  input_ = regression(sums.drift, &DriftHalf::input, input_share_ * factor, inverse, pool);
  if (!has_residual) return;
  residual_ = regression(sums.drift, &DriftHalf::residual,
                         residual_share_ * factor / residual_scale, inverse, pool);
}

void TargetShift::apply(View2<float> w, ThreadPool& pool) const {
  if (input_.rows() == 0) return;
  const std::vector<StripRange> strips = cut_into_strips(w.rows);
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange range = strips[static_cast<std::size_t>(s)];
    const View2<float> rows = w.row_range(range.row0, range.rows);
    MatrixF moved(rows.rows, rows.cols);
    gemm(Trans::kNo, Trans::kNo, 1.0F, rows, input_.view(), 0.0F, moved.view());
    for (int64_t i = 0; i < rows.rows; ++i) {
      float* row = rows.row(i);
      for (int64_t j = 0; j < rows.cols; ++j) row[j] += moved(i, j);
      if (residual_.rows() == 0) continue;
      const float* add = residual_.row(range.row0 + i);
      for (int64_t j = 0; j < rows.cols; ++j) row[j] += add[j];
    }
  });
}

}  // namespace coldpress
