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

MatrixF scaled(const MatrixD& sum, double factor) {
  MatrixF m(sum.rows(), sum.cols());
  for (int64_t i = 0; i < sum.size(); ++i) {
    m.data()[i] = static_cast<float>(sum.data()[i] * factor);
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
  const double per_token = 1.0 / static_cast<double>(tokens);
  half.input = scaled(sums.input, per_token);
  half.residual = scaled(sums.residual, per_token);
  return half;
}

// How well one half's regression D_A (H_A + l I)^-1 predicts the other half's drift.
struct Trial {
  double cross = 0;
  double energy = 0;
};

Trial try_on(const Half& a, const Half& b, MatrixF Half::*drift) {
  const MatrixF t = product(a.*drift, a.inverse);
  return {dot(t, b.*drift), dot(product(t, b.h), t)};
}

// The factor with which both predict best together.
double best_share(const std::array<Trial, 2>& trials) {
  const double cross = trials[0].cross + trials[1].cross;
  const double energy = trials[0].energy + trials[1].energy;
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

TargetShift::TargetShift(const TapSums& sums, double residual_scale, ThreadPool& pool) {
  if (!sums.drift.is_measured()) return;
  const DriftHalf& even = sums.drift.halves[0];
  const DriftHalf& odd = sums.drift.halves[1];
  std::array<std::optional<Half>, 2> read_halves;
  std::optional<MatrixF> inverse;
  pool.for_each(3, [&](int64_t task, int) {
    const auto half = static_cast<std::size_t>(task);
    if (task < 2) read_halves[half] = read(sums.drift.halves[half]);
    if (task == 2) inverse = damped_inverse(sums.gram.normalised());
  });
  if (!read_halves[0] || !read_halves[1] || !inverse) return;
  const std::array<Half, 2> halves = {std::move(*read_halves[0]), std::move(*read_halves[1])};
  const bool has_residual = even.residual.rows() > 0;
  std::array<Trial, 2> of_input;
  std::array<Trial, 2> of_residual;
  pool.for_each(2, [&](int64_t task, int) {
    const auto a = static_cast<std::size_t>(task);
    of_input[a] = try_on(halves[a], halves[1 - a], &Half::input);
    if (has_residual) of_residual[a] = try_on(halves[a], halves[1 - a], &Half::residual);
  });
  input_share_ = best_share(of_input);
  residual_share_ = best_share(of_residual);
  const double per_token = 1.0 / static_cast<double>(sums.gram.tokens());
  pool.for_each(has_residual ? 2 : 1, [&](int64_t task, int) {
    if (task == 0) {
      input_ = product(sum(even.input, odd.input, input_share_ * per_token), *inverse);
    } else {
      const double factor = residual_share_ * per_token / residual_scale;
      residual_ = product(sum(even.residual, odd.residual, factor), *inverse);
    }
  });
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
