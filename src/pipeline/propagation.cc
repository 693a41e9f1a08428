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

MatrixF normalised(const MatrixD& sum, int64_t tokens) {
  MatrixF m(sum.rows(), sum.cols());
  const double by = 1.0 / static_cast<double>(tokens);
  for (int64_t i = 0; i < sum.rows() * sum.cols(); ++i) {
    m.data()[i] = static_cast<float>(sum.data()[i] * by);
  }
  return m;
}

MatrixF product(const MatrixF& a, const MatrixF& b) {
  MatrixF c(a.rows(), b.cols());
  gemm(Trans::kNo, Trans::kNo, 1.0F, a.view(), b.view(), 0.0F, c.view());
  return c;
}

double dot(const MatrixF& a, const MatrixF& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.rows() * a.cols(); ++i) {
    sum += static_cast<double>(a.data()[i]) * static_cast<double>(b.data()[i]);
  }
  return sum;
}

// (H + l I)^-1
std::optional<MatrixF> damped_inverse(const MatrixF& h) {
  MatrixF inverse = h.clone();
  double trace = 0;
  for (int64_t i = 0; i < h.rows(); ++i) trace += static_cast<double>(h(i, i));
  const auto damping = static_cast<float>(kDamping * trace / static_cast<double>(h.rows()));
  for (int64_t i = 0; i < h.rows(); ++i) inverse(i, i) += damping;
  if (!invert_spd(inverse.view())) return std::nullopt;
  return inverse;
}

// What one half of the windows says, per token.
struct Half {
  MatrixF h;
  MatrixF inverse;  // (H + l I)^-1
  MatrixF input;
  MatrixF residual;
};

std::optional<Half> read(const DriftHalf& sums) {
  const int64_t tokens = sums.gram.tokens();
  if (tokens == 0) return std::nullopt;
  Half half;
  half.h = sums.gram.normalised();
  std::optional<MatrixF> inverse = damped_inverse(half.h);
  if (!inverse) return std::nullopt;
  half.inverse = std::move(*inverse);
  half.input = normalised(sums.input, tokens);
  half.residual = normalised(sums.residual, tokens);
  return half;
}

// The factor on D_A (H_A + l I)^-1 that predicts the other half's drift best, both ways together.
double best_share(const std::array<Half, 2>& halves, MatrixF Half::*drift) {
  double cross = 0;
  double energy = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    const Half& a = halves[i];
    const Half& b = halves[1 - i];
    const MatrixF t = product(a.*drift, a.inverse);
    cross += dot(t, b.*drift);
    energy += dot(product(t, b.h), t);
  }
  return energy > 0 ? std::clamp(cross / energy, 0.0, 1.0) : 0.0;
}

MatrixF sum(const MatrixD& a, const MatrixD& b, double factor) {
  MatrixF m(a.rows(), a.cols());
  for (int64_t i = 0; i < a.rows() * a.cols(); ++i) {
    m.data()[i] = static_cast<float>((a.data()[i] + b.data()[i]) * factor);
  }
  return m;
}

}  // namespace

TargetShift::TargetShift(const TapSums& sums, double residual_scale) {
  if (!sums.drift.is_measured()) return;
  const auto& [even, odd] = sums.drift.halves;
  std::optional<Half> first = read(even);
  std::optional<Half> second = read(odd);
  const std::optional<MatrixF> inverse = damped_inverse(sums.gram.normalised());
  if (!first || !second || !inverse) return;
  const std::array<Half, 2> halves = {std::move(*first), std::move(*second)};
  const double per_token = 1.0 / static_cast<double>(sums.gram.tokens());
  input_share_ = best_share(halves, &Half::input);
  input_ = product(sum(even.input, odd.input, input_share_ * per_token), *inverse);
  if (even.residual.rows() == 0) return;
  residual_share_ = best_share(halves, &Half::residual);
  const double factor = residual_share_ * per_token / residual_scale;
  residual_ = product(sum(even.residual, odd.residual, factor), *inverse);
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
