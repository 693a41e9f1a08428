#include "solver/refit.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "linalg/blas.h"
#include "solver/scale_refit_math.h"

namespace coldpress {
namespace {

constexpr double kRidge = 1e-7;  // towards the current scales, relative to the mean diagonal
constexpr int kDescents = 3;     // over the scales of a row, each to its best storable value

// Solves (A + ridge) x = b + ridge x0 for symmetric A (size, size; lower triangle read). False if A
// is not positive definite.
bool solve_spd(const std::vector<double>& a, std::vector<double>* x, const std::vector<double>& b,
               std::size_t size, std::vector<double>* factor) {
  std::vector<double>& l = *factor;
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double v = a[i * size + j];
      for (std::size_t k = 0; k < j; ++k) v -= l[i * size + k] * l[j * size + k];
      if (i != j) {
        l[i * size + j] = v / l[j * size + j];
      } else if (v > 0) {
        l[i * size + i] = std::sqrt(v);
      } else {
        return false;
      }
    }
  }
  for (std::size_t i = 0; i < size; ++i) {
    double v = b[i];
    for (std::size_t k = 0; k < i; ++k) v -= l[i * size + k] * (*x)[k];
    (*x)[i] = v / l[i * size + i];
  }
  for (std::size_t i = size; i-- > 0;) {
    double v = (*x)[i];
    for (std::size_t k = i + 1; k < size; ++k) v -= l[k * size + i] * (*x)[k];
    (*x)[i] = v / l[i * size + i];
  }
  return true;
}

// x^T A x - 2 b^T x: f of a row but for what does not depend on its scales. Lower triangle read.
double quadratic(const std::vector<double>& a, const std::vector<double>& b,
                 const std::vector<double>& x) {
  double sum = 0;
  for (std::size_t g = 0; g < x.size(); ++g) {
    double product = a[g * x.size() + g] * x[g] - 2 * b[g];
    for (std::size_t h = 0; h < g; ++h) product += 2 * a[g * x.size() + h] * x[h];
    sum += product * x[g];
  }
  return sum;
}

// Rounds x to storable scales of `lane`, then moves one after the other to the best storable value
// given the others.
void descend_in_type(const Strip& strip, int64_t lane, const std::vector<double>& a,
                     const std::vector<double>& b, std::vector<double>* x) {
  const std::size_t size = x->size();
  for (std::size_t g = 0; g < size; ++g) {
    (*x)[g] = strip.storable(static_cast<int64_t>(g), lane, static_cast<float>((*x)[g]));
  }
  for (int pass = 0; pass < kDescents; ++pass) {
    bool moved = false;
    for (std::size_t g = 0; g < size; ++g) {
      double rest = b[g];
      for (std::size_t h = 0; h < size; ++h) {
        if (h != g) rest -= a[std::max(g, h) * size + std::min(g, h)] * (*x)[h];
      }
      const double best = rest / a[g * size + g];
      if (!is_believable_move((*x)[g], best)) continue;
      const double v = strip.storable(static_cast<int64_t>(g), lane, static_cast<float>(best));
      moved |= v != (*x)[g];
      (*x)[g] = v;
    }
    if (!moved) break;
  }
}

}  // namespace

// u_g = q'_g / s_g;  A_gh = u_g^T C_gh u_h,  b_g = u_g^T (C w')_g.
void refit_scales(Strip* strip, View2<float> q, MatrixF* c_w) {
  const View2<const float> c = strip->problem().hessian->correlation();
  const int64_t n = strip->n();
  const int64_t lanes = strip->lanes();
  const int64_t group = strip->group();
  const int64_t groups = strip->scales().rows;
  const auto size = static_cast<std::size_t>(groups);
  MatrixF product(n, lanes);
  MatrixF u(n, lanes);
  for (int64_t j = 0; j < n; ++j) {
    const float* inverse = strip->inverse_scales().row(j / group);
    for (int64_t i = 0; i < lanes; ++i) u(j, i) = q(j, i) * inverse[i];
  }
  MatrixF b(groups, lanes);
  MatrixF own;
  if (c_w == nullptr) c_w = &own;
  if (c_w->rows() == 0) {
    *c_w = MatrixF(n, lanes);
    gemm(Trans::kNo, Trans::kNo, 1.0F, c, strip->w(), 0.0F, c_w->view());
  }
  for (int64_t g = 0; g < groups; ++g) {
    add_dots(u.view().row_range(g * group, group), c_w->view().row_range(g * group, group),
             b.row(g));
  }
  MatrixF a(groups * groups, lanes);  // row g * groups + h, h <= g
  for (int64_t h = 0; h < groups; ++h) {
    const int64_t below = h * group;  // only g >= h is needed
    gemm(Trans::kNo, Trans::kNo, 1.0F, c.block(below, below, n - below, group),
         u.view().row_range(below, group), 0.0F, product.view().row_range(below, n - below));
    for (int64_t g = h; g < groups; ++g) {
      add_dots(u.view().row_range(g * group, group), product.view().row_range(g * group, group),
               a.row(g * groups + h));
    }
  }
  std::vector<double> system(size * size);
  std::vector<double> factor(size * size);
  std::vector<double> right(size);
  std::vector<double> solution(size);
  std::vector<double> old(size);
  const bool exact = strip->problem().grid->scale_rule.is_exact();
  for (int64_t i = 0; i < strip->rows(); ++i) {
    double trace = 0;
    for (int64_t g = 0; g < groups; ++g) trace += a(g * groups + g, i);
    const double ridge = kRidge * trace / static_cast<double>(groups);
    for (std::size_t g = 0; g < size; ++g) {
      const auto row = static_cast<int64_t>(g);
      for (std::size_t h = 0; h <= g; ++h) {
        system[g * size + h] = a(row * groups + static_cast<int64_t>(h), i);
      }
      system[g * size + g] += ridge;
      right[g] = b(row, i) + ridge * strip->scales()(row, i);
    }
    bool good = solve_spd(system, &solution, right, size, &factor);
    for (std::size_t g = 0; g < size && good; ++g) {
      const double now = strip->scales()(static_cast<int64_t>(g), i);
      good = is_believable_move(now, solution[g]);
    }
    for (std::size_t g = 0; g < size; ++g) {
      old[g] =
          strip->storable(static_cast<int64_t>(g), i, strip->scales()(static_cast<int64_t>(g), i));
    }
    if (good && !exact) {
      descend_in_type(*strip, i, system, right, &solution);
      good = quadratic(system, right, solution) < quadratic(system, right, old);
    }
    const std::vector<double>& chosen = good ? solution : old;
    for (int64_t g = 0; g < groups; ++g) {
      strip->set_scale(g, i, static_cast<float>(chosen[static_cast<std::size_t>(g)]));
    }
  }
  for (int64_t j = 0; j < n; ++j) {
    const float* scale = strip->scales().row(j / group);
    for (int64_t i = 0; i < lanes; ++i) q(j, i) = u(j, i) * scale[i];
  }
}

void refit_scales_to(View2<const float> t, Strip* strip, View2<float> q) {
  const int64_t group = strip->group();
  const bool is_coarse = strip->problem().grid->scale_rule.is_coarse();
  std::vector<float> tq(static_cast<std::size_t>(q.cols));
  std::vector<float> qq(tq.size());
  for (int64_t g = 0; g < strip->scales().rows; ++g) {
    std::fill(tq.begin(), tq.end(), 0.0F);
    std::fill(qq.begin(), qq.end(), 0.0F);
    add_dots(t.row_range(g * group, group), q.row_range(g * group, group), tq.data());
    add_dots(q.row_range(g * group, group), q.row_range(g * group, group), qq.data());
    for (int64_t i = 0; i < q.cols; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float wanted = qq[at] > 0 ? tq[at] / qq[at] : 1.0F;
      float factor = std::min(1.1F, std::max(0.9F, wanted));  // NaN: 0.9
      const float from = strip->scales()(g, i);
      // Where the next storable scale is far, codes made for one in between would fit neither.
      if (is_coarse) factor = strip->storable(g, i, from * factor) / from;
      tq[at] = factor;
      strip->set_scale(g, i, from * factor);
    }
    for (int64_t j = g * group; j < (g + 1) * group; ++j) {
      float* out = q.row(j);
#pragma omp simd
      for (int64_t i = 0; i < q.cols; ++i) out[i] *= tq[static_cast<std::size_t>(i)];
    }
  }
}

}  // namespace coldpress
