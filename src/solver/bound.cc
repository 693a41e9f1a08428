#include "solver/bound.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace coldpress {

// Reverse water-filling. theta_i / sigma_i^2 solves mean_k max(0, log2(lambda_k / theta) / 2) =
// bits for every row alike, so the bound is (sum_i sigma_i^2) * sum_k min(lambda_k, theta).
double rate_distortion_bound(View2<const float> w, const Spectrum& spectrum, double bits) {
  const double largest = spectrum.largest();
  if (w.rows == 0 || !(largest > 0)) return 0;
  const auto mean_bits = [&](double log2_theta) {
    double sum = 0;
    for (std::size_t k = 0; k < spectrum.value.size(); ++k) {
      const double v = spectrum.value[k];
      if (v > 0) sum += spectrum.share[k] * std::max(0.0, 0.5 * (std::log2(v) - log2_theta));
    }
    return sum;
  };
  double hi = std::log2(largest);
  double lo = hi - 400;
  for (int k = 0; k < 100; ++k) {
    const double mid = 0.5 * (lo + hi);
    (mean_bits(mid) > bits ? lo : hi) = mid;
  }
  const double theta = std::exp2(hi);
  double distortion = 0;
  for (std::size_t k = 0; k < spectrum.value.size(); ++k) {
    distortion += spectrum.share[k] * std::min(spectrum.value[k], theta);
  }
  distortion *= static_cast<double>(w.cols);
  double variance = 0;
  for (int64_t i = 0; i < w.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < w.cols; ++j) sum += static_cast<double>(w(i, j)) * w(i, j);
    variance += sum / static_cast<double>(w.cols);
  }
  return variance * distortion;
}

double relative_bound(View2<const float> w, TapHessian& hessian, double bits, double energy,
                      ThreadPool& pool) {
  return hessian.scale() * hessian.scale() *
         rate_distortion_bound(w, hessian.spectrum(pool), bits) / energy;
}

}  // namespace coldpress
