// MagR (2406.00800): weights with smaller ranges and nearly the same outputs,
//   minimise  1/2 (w - w0) H (w - w0)^T + alpha lambda_max(H) |w0|_inf |w|_inf   for each row,
// by proximal gradient steps of length 1 / lambda_max(H). Needs only H. The factor beside alpha
// makes the setting independent of the scales of weights and inputs.
//
//   prox of t |.|_inf at v:  v less its projection on the l1 ball of radius t
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "linalg/blas.h"
#include "transform/table.h"

namespace coldpress {
namespace {

constexpr double kDefaultAlpha = 0.001;
constexpr int kIterations = 100;
constexpr int64_t kStripRows = 64;

Status check(const Model& /*model*/, const TransformStep& step) {
  if (step.setting.empty()) return {};
  return number_setting(step, 0, 1).status();
}

// v (n) <- prox of radius * |.|_inf: its largest entries are cut to the height that takes `radius`
// off their sum.
void shrink_largest(double radius, std::vector<float>& sizes, float* v, int64_t n) {
  double total = 0;
  for (int64_t j = 0; j < n; ++j) {
    sizes[static_cast<std::size_t>(j)] = std::fabs(v[j]);
    total += sizes[static_cast<std::size_t>(j)];
  }
  if (total <= radius) {
    std::fill_n(v, n, 0.0F);
    return;
  }
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  double sum = 0;
  double height = 0;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    sum += sizes[k];
    height = (sum - radius) / static_cast<double>(k + 1);
    if (k + 1 == sizes.size() || height >= sizes[k + 1]) break;
  }
  const auto most = static_cast<float>(height);
  for (int64_t j = 0; j < n; ++j) v[j] = std::clamp(v[j], -most, most);
}

void reshape_rows(double alpha, View2<const float> h, float largest_eigenvalue, View2<float> w) {
  MatrixF before(w.rows, w.cols);
  MatrixF change(w.rows, w.cols);
  MatrixF gradient(w.rows, w.cols);
  std::vector<double> radius;
  for (int64_t i = 0; i < w.rows; ++i) {
    std::memcpy(before.row(i), w.row(i), static_cast<std::size_t>(w.cols) * sizeof(float));
    float largest = 0;
    for (int64_t j = 0; j < w.cols; ++j) largest = std::max(largest, std::fabs(w(i, j)));
    radius.push_back(alpha * largest);
  }
  std::vector<float> sizes(static_cast<std::size_t>(w.cols));
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    for (int64_t i = 0; i < w.rows; ++i) {
      for (int64_t j = 0; j < w.cols; ++j) change(i, j) = w(i, j) - before(i, j);
    }
    gemm(Trans::kNo, Trans::kNo, 1.0F / largest_eigenvalue, change.view(), h, 0.0F,
         gradient.view());
    for (int64_t i = 0; i < w.rows; ++i) {
      for (int64_t j = 0; j < w.cols; ++j) w(i, j) -= gradient(i, j);
      shrink_largest(radius[static_cast<std::size_t>(i)], sizes, w.row(i), w.cols);
    }
  }
}

void reshape(View2<float> w, TapHessian& hessian, const TransformStep& step, ThreadPool& pool) {
  const double alpha = step.setting.empty() ? kDefaultAlpha : *number_setting(step, 0, 1);
  // An estimate from below is good enough: steps converge up to twice as long as 1 / largest.
  const auto largest = static_cast<float>(hessian.spectrum(pool).largest());
  if (!(largest > 0)) return;
  // H in the spectrum's unit.
  const std::vector<float>& d = hessian.d();
  const View2<const float> c = hessian.correlation();
  MatrixF h(hessian.n(), hessian.n());
  for (int64_t i = 0; i < h.rows(); ++i) {
    for (int64_t j = 0; j < h.cols(); ++j) {
      h(i, j) = c(i, j) * d[static_cast<std::size_t>(i)] * d[static_cast<std::size_t>(j)];
    }
  }
  pool.for_each((w.rows + kStripRows - 1) / kStripRows, [&](int64_t strip, int) {
    const int64_t first = strip * kStripRows;
    reshape_rows(alpha, h.view(), largest,
                 w.row_range(first, std::min(kStripRows, w.rows - first)));
  });
}

}  // namespace

extern const TransformKind kTransformKind_magr;
const TransformKind kTransformKind_magr = {
    .name = "magr",
    .summary = "the largest weights shrink where outputs hardly change (MagR); :ALPHA",
    .check = check,
    .reshape = reshape,
};

}  // namespace coldpress
