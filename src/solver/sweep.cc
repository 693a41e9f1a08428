#include "solver/sweep.h"

#include <algorithm>

#include "linalg/blas.h"
#include "solver/vector_sweep.h"

namespace coldpress {

namespace {
constexpr int64_t kSweepBlock = 128;  // columns per product: wide enough to run at the BLAS rate
constexpr int64_t kSweepInner = 16;   // columns updated one by one before the rest of the block is
}  // namespace

int64_t coordinate_sweep(const Strip& strip, View2<const float> correlation, bool relaxed,
                         View2<float> e, SweepScratch* scratch, View2<const uint8_t> free) {
  const int64_t n = strip.n();
  const int64_t lanes = strip.lanes();
  if (scratch->gradient.cols() != lanes) {
    scratch->gradient = MatrixF(kSweepBlock, lanes);
    scratch->change = MatrixF(kSweepInner, lanes);
    scratch->target = MatrixF(1, lanes);
    scratch->point = MatrixF(1, lanes);
  }
  if (strip.tuple() > 1 && !relaxed) return unit_sweep(strip, correlation, e, scratch);
  scratch->off_grid = relaxed;
  float* t = scratch->target.data();
  int64_t moved = 0;
  for (int64_t b0 = 0; b0 < n; b0 += kSweepBlock) {
    const int64_t size = std::min(kSweepBlock, n - b0);
    const View2<float> r = scratch->gradient.view().row_range(0, size);
    gemm(Trans::kNo, Trans::kNo, 1.0F, correlation.row_range(b0, size), e, 0.0F, r);
    for (int64_t c0 = 0; c0 < size; c0 += kSweepInner) {
      const int64_t depth = std::min(kSweepInner, size - c0);
      for (int64_t c = 0; c < depth; ++c) {
        const int64_t j = b0 + c0 + c;
        const float* w = strip.w().row(j);
        const float* gradient = r.row(c0 + c);
        float* ej = e.row(j);
        float* change = scratch->change.row(c);
#pragma omp simd
        for (int64_t i = 0; i < lanes; ++i) t[i] = w[i] - ej[i] + gradient[i];
        if (!relaxed && free.data == nullptr) strip.project(j, t, t);
        if (!relaxed && free.data != nullptr) {
          const uint8_t* loose = free.row(j);
          float* point = scratch->point.data();
          strip.project(j, t, point);
#pragma omp simd
          for (int64_t i = 0; i < lanes; ++i) t[i] = loose[i] != 0 ? t[i] : point[i];
        }
        int64_t count = 0;
#pragma omp simd reduction(+ : count)
        for (int64_t i = 0; i < lanes; ++i) {
          const float next = w[i] - t[i];
          const float step = ej[i] - next;  // q' grows by step
          count += step != 0.0F ? 1 : 0;
          ej[i] = next;
          change[i] = step;
        }
        moved += count;
        for (int64_t later = c + 1; later < depth; ++later) {
          const float a = correlation(b0 + c0 + later, j);
          float* out = r.row(c0 + later);
#pragma omp simd
          for (int64_t i = 0; i < lanes; ++i) out[i] -= a * change[i];
        }
      }
      const auto coefficient = [&](int64_t c, int64_t k) {
        return correlation(b0 + k, b0 + c0 + c);
      };
      subtract_products(scratch->change.view(), depth, coefficient, c0 + depth, size, r);
    }
  }
  return moved;
}

}  // namespace coldpress
