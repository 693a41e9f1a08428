#include "solver/scale_sweep.h"

#include <array>
#include <cmath>
#include <vector>

#include "linalg/blas.h"
#include "solver/scale_refit_math.h"

namespace coldpress {
namespace {

// f of one lane where the group's scale grows by s and its offset by o:
//   ss s^2 + oo o^2 + 2 so s o - 2 (bs s + bo o), beyond what it is now.
struct Quadratic {
  float ss, oo, so, bs, bo;
  float at(float s, float o) const {
    return ss * s * s + oo * o * o + 2.0F * (so * s * o - bs * s - bo * o);
  }
};

struct Scratch {
  MatrixF level;     // (group, lanes): what a unit of scale adds to q', level d
  MatrixF gradient;  // (group, lanes): C e'
  MatrixF product;   // (group, lanes): C_gg level
  MatrixF sums;      // (5, lanes): the coefficients of Quadratic, in its order
};

// The storable step of lane i that lowers f most: from the free minimum, the scale or the offset
// rounded first, or one of them alone.
std::array<float, 2> best_step(const Strip& strip, int64_t g, int64_t i, const Quadratic& f,
                               bool has_offset) {
  const float s = strip.scales()(g, i);
  const float o = s * strip.zeros()(g, i);
  std::array<float, 2> best = {0, 0};
  float least = 0;
  const auto scale_step = [&](float step) {
    const float to = s + step;
    return is_believable_move(s, to) ? strip.storable(g, i, to) - s : 0.0F;
  };
  const auto offset_step = [&](float step) { return strip.storable_offset(g, i, o + step) - o; };
  const auto consider = [&](float ds, float d_o) {
    const float value = f.at(ds, d_o);
    if (!(value < least) || !std::isfinite(ds) || !std::isfinite(d_o)) return;
    least = value;
    best = {ds, d_o};
  };
  if (f.ss > 0) consider(scale_step(f.bs / f.ss), 0);
  if (!has_offset || !(f.oo > 0)) return best;
  consider(0, offset_step(f.bo / f.oo));
  const float determinant = f.ss * f.oo - f.so * f.so;
  if (!(determinant > 1e-6F * f.ss * f.oo)) return best;
  const float ds = scale_step((f.bs * f.oo - f.bo * f.so) / determinant);
  consider(ds, offset_step((f.bo - f.so * ds) / f.oo));
  const float d_o = offset_step((f.bo * f.ss - f.bs * f.so) / determinant);
  consider(scale_step((f.bs - f.so * d_o) / f.ss), d_o);
  return best;
}

}  // namespace

void scale_sweep(Strip* strip, View2<float> e) {
  const View2<const float> c = strip->problem().hessian->correlation();
  const bool has_offset = strip->problem().grid->has_offset;
  const int64_t group = strip->group();
  const int64_t lanes = strip->lanes();
  Scratch scratch{MatrixF(group, lanes), MatrixF(group, lanes), MatrixF(group, lanes),
                  MatrixF(5, lanes)};
  std::vector<float> c_d(static_cast<std::size_t>(group));  // C_gg d
  for (int64_t g = 0; g < strip->scales().rows; ++g) {
    const int64_t first = g * group;
    const float* d =
        strip->problem().hessian->d().data() + first;  // what a unit of offset takes off q'
    const float* inverse = strip->inverse_scales().row(g);
    const float* zero = strip->zeros().row(g);
    for (int64_t j = 0; j < group; ++j) {
      const float* w = strip->w().row(first + j);
      const float* ej = e.row(first + j);
      const float dj = has_offset ? d[j] : 0.0F;
      float* level = scratch.level.row(j);
#pragma omp simd
      for (int64_t i = 0; i < lanes; ++i) level[i] = (w[i] - ej[i]) * inverse[i] + zero[i] * dj;
    }
    gemm(Trans::kNo, Trans::kNo, 1.0F, c.row_range(first, group), e, 0.0F, scratch.gradient.view());
    gemm(Trans::kNo, Trans::kNo, 1.0F, c.block(first, first, group, group), scratch.level.view(),
         0.0F, scratch.product.view());
    std::fill_n(scratch.sums.data(), scratch.sums.size(), 0.0F);
    add_dots(scratch.level.view(), scratch.product.view(), scratch.sums.row(0));
    add_dots(scratch.level.view(), scratch.gradient.view(), scratch.sums.row(3));
    if (has_offset) {
      float d_c_d = 0;
      for (int64_t j = 0; j < group; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < group; ++k) {
          sum += c(first + j, first + k) * d[k];
        }
        c_d[static_cast<std::size_t>(j)] = sum;
        d_c_d += sum * d[j];
      }
      for (int64_t j = 0; j < group; ++j) {
        const float x = c_d[static_cast<std::size_t>(j)];
        const float dj = d[j];
        for (int64_t i = 0; i < lanes; ++i) {
          scratch.sums(2, i) -= x * scratch.level(j, i);
          scratch.sums(4, i) -= dj * scratch.gradient(j, i);
        }
      }
      std::fill_n(scratch.sums.row(1), lanes, d_c_d);
    }
    for (int64_t i = 0; i < strip->rows(); ++i) {
      const MatrixF& sums = scratch.sums;
      const Quadratic f{sums(0, i), sums(1, i), sums(2, i), sums(3, i), sums(4, i)};
      const auto [ds, d_o] = best_step(*strip, g, i, f, has_offset);
      if (ds == 0 && d_o == 0) continue;
      const float offset = strip->scales()(g, i) * strip->zeros()(g, i) + d_o;
      strip->set_scale(g, i, strip->scales()(g, i) + ds);
      if (has_offset) strip->set_zero(g, i, offset * strip->inverse_scales()(g, i));
      for (int64_t j = 0; j < group; ++j) {
        e(first + j, i) -= ds * scratch.level(j, i) - d_o * d[j];
      }
    }
  }
}

}  // namespace coldpress
