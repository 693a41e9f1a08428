#include "solver/error_feedback.h"

#include <algorithm>
#include <utility>

#include "linalg/blas.h"
#include "solver/sweep.h"
#include "solver/vector_sweep.h"

namespace coldpress {

namespace {
constexpr int64_t kFeedbackBlock = 128;  // columns of one lazy update, which is one product
constexpr int64_t kFeedbackInner = 16;   // columns that update each other at once
}  // namespace

Feedback error_feedback(const Strip& strip, const GptqFactor& factor, View2<const uint8_t> free) {
  const int64_t n = strip.n();
  const int64_t lanes = strip.lanes();
  const View2<const float> u = factor.u.view();
  const int64_t unit = strip.tuple();
  COLDPRESS_CHECK(factor.unit == unit && (unit == 1 || free.data == nullptr));
  MatrixF q(n, lanes);
  MatrixF err(n, lanes);
  MatrixF t(kFeedbackBlock, lanes);
  for (int64_t b0 = 0; b0 < n; b0 += kFeedbackBlock) {
    const int64_t size = std::min(kFeedbackBlock, n - b0);
    const View2<float> tb = t.view().row_range(0, size);
    for (int64_t k = 0; k < size; ++k) {
      const float* w = strip.w().row(factor.order[static_cast<std::size_t>(b0 + k)]);
      std::copy(w, w + lanes, tb.row(k));
    }
    if (b0 > 0) {
      gemm(Trans::kYes, Trans::kNo, -1.0F, u.block(0, b0, b0, size), err.view().row_range(0, b0),
           1.0F, tb);
    }
    for (int64_t c0 = 0; c0 < size; c0 += kFeedbackInner) {
      const int64_t depth = std::min(kFeedbackInner, size - c0);
      for (int64_t c = 0; c < depth; ++c) {
        const int64_t j = b0 + c0 + c;
        const int64_t column = factor.order[static_cast<std::size_t>(j)];
        const float* target = tb.row(c0 + c);
        float* point = q.row(column);
        float* e = err.row(j);
        if (unit == 1) {
          strip.project(column, target, point);
        } else if (c % unit == 0) {
          feed_back_unit(strip, column, tb.row_range(c0 + c, unit), u.block(j, j, unit, unit),
                         q.view().row_range(column, unit));
        }
        if (free.data != nullptr) {
          const uint8_t* loose = free.row(column);
#pragma omp simd
          for (int64_t i = 0; i < lanes; ++i) point[i] = loose[i] != 0 ? target[i] : point[i];
        }
        const float inverse = 1.0F / u(j, j);
#pragma omp simd
        for (int64_t i = 0; i < lanes; ++i) e[i] = (target[i] - point[i]) * inverse;
        for (int64_t later = c + 1; later < depth; ++later) {
          const float a = u(j, b0 + c0 + later);
          float* out = tb.row(c0 + later);
#pragma omp simd
          for (int64_t i = 0; i < lanes; ++i) out[i] -= a * e[i];
        }
      }
      const auto coefficient = [&](int64_t c, int64_t k) { return u(b0 + c0 + c, b0 + k); };
      subtract_products(err.view().row_range(b0 + c0, depth), depth, coefficient, c0 + depth, size,
                        tb);
    }
  }
  return {std::move(q), std::move(err)};
}

std::vector<double> estimated_errors(const Strip& strip, const GptqFactor& factor,
                                     const Feedback& feedback) {
  const std::vector<float>& d = strip.problem().hessian->d();
  std::vector<double> f(static_cast<std::size_t>(strip.rows()));
  for (int64_t k = 0; k < strip.n(); ++k) {
    const int64_t j = factor.order[static_cast<std::size_t>(k)];
    const double added = factor.added(d[static_cast<std::size_t>(j)]);
    const float* err = feedback.err.row(k);
    const float* w = strip.w().row(j);
    const float* q = feedback.q.row(j);
#pragma omp simd
    for (int64_t i = 0; i < strip.rows(); ++i) {
      const double whole = err[i];
      const double e = w[i] - q[i];
      f[static_cast<std::size_t>(i)] += whole * whole - added * e * e;
    }
  }
  return f;
}

}  // namespace coldpress
