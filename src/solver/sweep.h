// One cyclic coordinate-descent sweep over a strip (QuantEase, 2309.01885): the kernel shared by
// QuantEase, ADMM-Q's local search and every polish.
#pragma once

#include <cstdint>

#include "base/view.h"
#include "solver/strip.h"

namespace coldpress {

// Scratch of one worker, reused between sweeps.
struct SweepScratch {
  MatrixF gradient;  // (block, lanes)
  MatrixF change;    // (inner block, lanes)
  MatrixF target;    // (1, lanes)
  MatrixF point;     // (1, lanes)
  // Whether q' may be no point of the grid. Only grids with a book ask: a projected sweep then
  // moves every unit of columns to one, and takes this back.
  bool off_grid = false;
};

// For each column in order: t_j = q'_j + (C e')_j is the best value of entry j given all others;
// the entry moves to project(t_j), or to t_j itself if `relaxed`. e' (n, lanes) is w' - q', updated
// in place. From a grid point, a projected sweep never raises f. Returns the number of entries that
// moved. Cost: one product (n x n)(n x lanes).
// On a grid with a book, a projected sweep goes unit by unit (solver/vector_sweep.h).
// free (n, lanes), if given (not with a book): entries where it is not 0 need no grid point and
// always move to t_j.
int64_t coordinate_sweep(const Strip& strip, View2<const float> correlation, bool relaxed,
                         View2<float> e, SweepScratch* scratch, View2<const uint8_t> free = {});

// y[k] -= sum_c coefficient(c, k) x[c] for k in [first, last), c in [0, depth): rows of `lanes`
// values. The small product inside a block, shared by the sweeps and GPTQ.
template <typename Coefficient>
void subtract_products(View2<const float> x, int64_t depth, Coefficient coefficient, int64_t first,
                       int64_t last, View2<float> y) {
  constexpr int64_t kDepth = 16;
  for (int64_t k = first; k < last; ++k) {
    float* out = y.row(k);
    int64_t c0 = 0;
    for (; c0 + kDepth <= depth; c0 += kDepth) {
      float a[kDepth];
      for (int64_t c = 0; c < kDepth; ++c) a[c] = coefficient(c0 + c, k);
      const float* in = x.row(c0);
      const int64_t stride = x.stride;
#pragma omp simd
      for (int64_t i = 0; i < y.cols; ++i) {
        float sum0 = 0;
        float sum1 = 0;
#pragma GCC unroll 8
        for (int64_t c = 0; c < kDepth; c += 2) {
          sum0 += a[c] * in[c * stride + i];
          sum1 += a[c + 1] * in[(c + 1) * stride + i];
        }
        out[i] -= sum0 + sum1;
      }
    }
    for (; c0 < depth; ++c0) {
      const float a = coefficient(c0, k);
      const float* in = x.row(c0);
#pragma omp simd
      for (int64_t i = 0; i < y.cols; ++i) out[i] -= a * in[i];
    }
  }
}

}  // namespace coldpress
