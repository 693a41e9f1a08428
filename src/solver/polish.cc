#include "solver/polish.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "solver/greedy.h"
#include "solver/refit.h"
#include "solver/scale_sweep.h"
#include "solver/sweep.h"

namespace coldpress {
namespace {

// Up to here a row's linear system costs little beside the products.
constexpr int64_t kDirectGroups = 64;

// Whether refit_scales() serves: it knows neither units nor offsets.
bool refits_directly(const Strip& strip) {
  const QuantGrid& grid = *strip.problem().grid;
  return !grid.scale_rule.has_units() && !grid.has_offset && grid.groups() <= kDirectGroups;
}

// Storable scales, and the same codes on them.
void settle(Strip* strip, View2<float> q) {
  Matrix<uint8_t> codes(strip->n(), strip->rows());
  for (int64_t j = 0; j < codes.rows(); ++j) {
    for (int64_t i = 0; i < codes.cols(); ++i) codes(j, i) = strip->code(j, i, q(j, i));
  }
  strip->settle_scales();
  const MatrixF moved = strip->points([&](int64_t j, int64_t i) { return codes(j, i); });
  for (int64_t j = 0; j < q.rows; ++j) std::copy_n(moved.row(j), q.cols, q.row(j));
}

}  // namespace

double polish(Strip* strip, View2<float> q, const PolishOptions& options) {
  if (options.greedy_moves == 0 && options.sweeps == 0 && options.refit_rounds == 0) return 0;
  double products = 0;
  const View2<const float> correlation = strip->problem().hessian->correlation();
  SweepScratch scratch;
  MatrixF e(strip->n(), strip->lanes());
  const auto take_errors = [&] { strip->w_minus(q, e.view()); };
  const auto take_point = [&] { strip->w_minus(e.view(), q); };
  const auto sweep = [&](int count) {
    for (int k = 0; k < count; ++k) {
      ++products;
      if (coordinate_sweep(*strip, correlation, false, e.view(), &scratch) == 0) break;
    }
  };
  take_errors();
  // Single codes do not move on a grid with a book.
  if (options.greedy_moves > 0 && strip->tuple() == 1) {
    greedy_moves(*strip, correlation, options.greedy_moves, e.view());
    ++products;
  }
  sweep(options.sweeps);
  take_point();
  if (options.refit_rounds == 0) return products;
  MatrixF product(strip->n(), strip->lanes());
  const auto total = [&] {
    ++products;
    const std::vector<double> f = strip->errors(e.view(), product.view());
    return std::accumulate(f.begin(), f.end(), 0.0);
  };
  const bool direct = refits_directly(*strip);
  if (!direct) {
    settle(strip, q);
    take_errors();
  }
  MatrixF c_w;
  double before = total();
  for (int round = 0; round < options.refit_rounds; ++round) {
    if (direct) {
      products += c_w.rows() == 0 ? 1.5 : 0.5;
      refit_scales(strip, q, &c_w);
      take_errors();
    } else {
      scale_sweep(strip, e.view());
      ++products;
    }
    sweep(options.refit_sweeps);
    take_point();
    if (round + 1 == options.refit_rounds) break;
    const double after = total();
    if (!(before - after > options.refit_gain * before)) break;
    before = after;
  }
  return products;
}

}  // namespace coldpress
