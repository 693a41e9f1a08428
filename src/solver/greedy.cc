#include "solver/greedy.h"

#include <algorithm>
#include <vector>

#include "linalg/blas.h"

namespace coldpress {
namespace {

// A move must lower f by more than the rounding of its own terms.
constexpr float kSmallest = 1e-6F;

// One row, contiguous: the entries of lane i.
struct Row {
  std::vector<float> q;         // the grid point
  std::vector<float> gradient;  // C e'
  std::vector<float> target;    // the best value of each entry given the others
  std::vector<float> point;     // the grid point nearest to it

  explicit Row(int64_t n) : q(static_cast<std::size_t>(n)), gradient(q), target(q), point(q) {}
};

// The column whose best move lowers f most; -1 if none does.
int64_t best_move(const Strip& strip, int64_t lane, Row* row) {
  const auto n = static_cast<int64_t>(row->q.size());
  const float* q = row->q.data();
  const float* gradient = row->gradient.data();
  float* target = row->target.data();
  float* point = row->point.data();
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) target[j] = q[j] + gradient[j];
  strip.project_row(lane, target, point);
  // f changes by s^2 - 2 s g where entry j grows by s, since C_jj = 1. The least first, then where
  // it is: both loops vectorise, one that keeps track of the place does not. NaN is never less.
  float least = 0;
#pragma omp simd reduction(min : least)
  for (int64_t j = 0; j < n; ++j) {
    const float step = point[j] - q[j];
    target[j] = step * step - 2.0F * step * gradient[j] + kSmallest * step * step;
    least = target[j] < least ? target[j] : least;
  }
  if (least == 0) return -1;
  return std::find(target, target + n, least) - target;
}

}  // namespace

int64_t greedy_moves(const Strip& strip, View2<const float> correlation, int64_t moves,
                     View2<float> e) {
  const int64_t n = strip.n();
  MatrixF product(n, strip.lanes());
  gemm(Trans::kNo, Trans::kNo, 1.0F, correlation, e, 0.0F, product.view());
  Row row(n);
  int64_t made = 0;
  for (int64_t i = 0; i < strip.rows(); ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const auto at = static_cast<std::size_t>(j);
      row.q[at] = strip.w()(j, i) - e(j, i);
      row.gradient[at] = product(j, i);
    }
    for (int64_t k = 0; k < moves; ++k) {
      const int64_t j = best_move(strip, i, &row);
      if (j < 0) break;
      const auto at = static_cast<std::size_t>(j);
      const float step = row.point[at] - row.q[at];
      row.q[at] = row.point[at];
      e(j, i) = strip.w()(j, i) - row.q[at];
      const float* c = correlation.row(j);
      float* gradient = row.gradient.data();
#pragma omp simd
      for (int64_t l = 0; l < n; ++l) gradient[l] -= step * c[l];
      ++made;
    }
  }
  return made;
}

}  // namespace coldpress
