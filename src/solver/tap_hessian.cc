#include "solver/tap_hessian.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "linalg/blas.h"
#include "linalg/spd.h"

namespace coldpress {
namespace {

constexpr int64_t kMostExact = 1536;  // columns whose eigenvalues take half a second

}  // namespace

Result<TapHessian> TapHessian::create(std::string name, View2<const float> h) {
  if (h.rows != h.cols) {
    return invalid_argument(
        fmt::format("Hessian of tap {} is {} x {}, not square", name, h.rows, h.cols));
  }
  const int64_t n = h.rows;
  TapHessian t;
  t.name_ = std::move(name);
  t.diagonal_.resize(static_cast<std::size_t>(n));
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      if (!std::isfinite(h(i, j))) {
        return invalid_argument(
            fmt::format("Hessian of tap {} holds {} at ({}, {}): the calibration activations are "
                        "not finite",
                        t.name_, h(i, j), i, j));
      }
    }
    if (h(i, i) < 0) {
      return invalid_argument(
          fmt::format("Hessian of tap {} has the negative diagonal {} at {}", t.name_, h(i, i), i));
    }
    t.diagonal_[static_cast<std::size_t>(i)] = h(i, i);
    sum += h(i, i);
    t.live_ += h(i, i) > 0 ? 1 : 0;
  }
  const double mean = t.live_ > 0 ? sum / static_cast<double>(t.live_) : 1.0;
  t.scale_ = std::sqrt(mean);
  t.d_.resize(static_cast<std::size_t>(n));
  std::vector<double> inverse(static_cast<std::size_t>(n), 0.0);  // 1 / sqrt(H_jj)
  for (std::size_t j = 0; j < t.d_.size(); ++j) {
    const double root = std::sqrt(static_cast<double>(t.diagonal_[j]));
    t.d_[j] = static_cast<float>(root / t.scale_);
    // A column below fp32's reach of the others is dead: its d would be 0 or denormal.
    if (t.d_[j] < 1e-30F) {
      t.d_[j] = 0;
    } else {
      inverse[j] = 1.0 / root;
    }
  }
  t.correlation_ = MatrixF(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      const double c =
          h(i, j) * inverse[static_cast<std::size_t>(i)] * inverse[static_cast<std::size_t>(j)];
      // |C_ij| <= 1 for any PSD H; rounding (or a hostile H) may leave it.
      t.correlation_(i, j) = static_cast<float>(std::clamp(c, -1.0, 1.0));
    }
    t.correlation_(i, i) = 1.0F;
  }
  mirror_lower(t.correlation_.view());
  return t;
}

const GptqFactor* TapHessian::gptq_factor(int64_t unit, ThreadPool& pool) {
  const std::lock_guard lock(*filling_);
  auto made = gptq_.find(unit);
  if (made == gptq_.end()) made = gptq_.emplace(unit, make_gptq_factor(unit, pool)).first;
  return made->second.u.empty() ? nullptr : &made->second;
}

GptqFactor TapHessian::make_gptq_factor(int64_t unit, ThreadPool& pool) const {
  COLDPRESS_CHECK(n() % unit == 0);
  GptqFactor gptq;
  gptq.unit = unit;
  const int64_t size = n();
  gptq.order.resize(static_cast<std::size_t>(size));
  std::iota(gptq.order.begin(), gptq.order.end(), 0);
  std::vector<double> activity(static_cast<std::size_t>(size / unit), 0.0);
  for (int64_t j = 0; j < size; ++j) {
    activity[static_cast<std::size_t>(j / unit)] += diagonal_[static_cast<std::size_t>(j)];
  }
  std::stable_sort(gptq.order.begin(), gptq.order.end(), [&](int64_t a, int64_t b) {
    const double of_a = activity[static_cast<std::size_t>(a / unit)];
    const double of_b = activity[static_cast<std::size_t>(b / unit)];
    return of_a != of_b ? of_a > of_b : a / unit < b / unit;
  });
  // C + damping / d^2 is H + damping mean(H) in our frame. U^T U = A^-1 with U upper comes from the
  // Cholesky factor L of A in reversed order: U = (J L J)^-1, J the reversal.
  for (gptq.damping = 0.01; gptq.damping <= 1.0; gptq.damping *= 10) {
    MatrixF a(size, size);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t ci = gptq.order[static_cast<std::size_t>(size - 1 - i)];
      for (int64_t j = 0; j <= i; ++j) {
        a(i, j) = correlation_(ci, gptq.order[static_cast<std::size_t>(size - 1 - j)]);
      }
      a(i, i) += gptq.added(d_[static_cast<std::size_t>(ci)]);
    }
    if (!cholesky_lower(a.view(), pool) || !invert_lower(a.view(), pool)) continue;
    std::reverse(a.data(), a.data() + a.size());  // J L J, in place: L may be large
    bool finite = true;
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = i; j < size; ++j) finite = finite && std::isfinite(a(i, j));
      finite = finite && a(i, i) > 0;
    }
    if (!finite) continue;
    gptq.u = std::move(a);
    break;
  }
  return gptq;
}

const Spectrum& TapHessian::spectrum(ThreadPool& pool) {
  const std::lock_guard lock(*filling_);
  if (!spectrum_) {
    spectrum_ = n() > kMostExact ? estimated_spectrum(correlation_.view(), d_, pool)
                                 : exact_spectrum(correlation_.view(), d_);
  }
  return *spectrum_;
}

}  // namespace coldpress
