#include "linalg/spd.h"

#include <algorithm>

#include "linalg/blas.h"

namespace coldpress {
namespace {

constexpr int64_t kBlock = 256;

// An n x n matrix in blocks; the last ones may be smaller.
struct Blocks {
  View2<float> a;

  int64_t count() const { return (a.rows + kBlock - 1) / kBlock; }
  int64_t at(int64_t i) const { return std::min(i * kBlock, a.rows); }
  // Rows of blocks i0 .. i1-1, columns of j0 .. j1-1.
  View2<float> part(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    return a.block(at(i0), at(j0), at(i1) - at(i0), at(j1) - at(j0));
  }
  View2<float> block(int64_t i, int64_t j) const { return part(i, i + 1, j, j + 1); }
};

// Block row i up to its diagonal, as it is before its place is written to; 0 above the diagonal.
void copy_row(const Blocks& blocks, int64_t i, View2<float> to) {
  const View2<float> row = blocks.part(i, i + 1, 0, i + 1);
  for (int64_t r = 0; r < row.rows; ++r) {
    const int64_t end = blocks.at(i) + r + 1;
    std::copy_n(row.row(r), end, to.row(r));
    std::fill(to.row(r) + end, to.row(r) + row.cols, 0.0F);
  }
}

// Lower triangular L^-1 in place of it -> the lower triangle of L^-T L^-1.
void square_inverse(const Blocks& blocks, ThreadPool& pool) {
  const int64_t count = blocks.count();
  MatrixF row(std::min(kBlock, blocks.a.rows), blocks.a.cols);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t height = blocks.block(i, i).rows;
    copy_row(blocks, i, row.view().row_range(0, height));
    pool.for_each(i + 1, [&](int64_t j, int) {
      const View2<float> out = blocks.block(i, j);
      const View2<const float> own = row.view().block(0, blocks.at(i), height, height);
      const View2<const float> other = row.view().block(0, blocks.at(j), height, out.cols);
      MatrixF sum(height, out.cols);
      gemm(Trans::kYes, Trans::kNo, 1.0F, own, other, 0.0F, sum.view());
      if (i + 1 < count) {
        gemm(Trans::kYes, Trans::kNo, 1.0F, blocks.part(i + 1, count, i, i + 1),
             blocks.part(i + 1, count, j, j + 1), 1.0F, sum.view());
      }
      for (int64_t r = 0; r < height; ++r) {
        std::copy_n(sum.row(r), i == j ? r + 1 : out.cols, out.row(r));
      }
    });
  }
}

}  // namespace

bool cholesky_lower(View2<float> a, ThreadPool& pool) {
  const Blocks blocks{a};
  const int64_t count = blocks.count();
  for (int64_t k = 0; k < count; ++k) {
    if (!cholesky_lower(blocks.block(k, k))) return false;
    const int64_t below = count - k - 1;
    pool.for_each(below, [&](int64_t task, int) {
      solve_right_transposed(blocks.block(k, k), blocks.block(k + 1 + task, k));
    });
    // Row by row, the longest first.
    pool.for_each(below * (below + 1) / 2, [&](int64_t task, int) {
      int64_t i = count - 1;
      for (int64_t length = below; task >= length; --length, --i) task -= length;
      const int64_t j = k + 1 + task;
      if (i == j) {
        syrk_lower_of_rows(-1.0F, blocks.block(i, k), 1.0F, blocks.block(i, i));
      } else {
        gemm(Trans::kNo, Trans::kYes, -1.0F, blocks.block(i, k), blocks.block(j, k), 1.0F,
             blocks.block(i, j));
      }
    });
  }
  return true;
}

bool invert_lower(View2<float> l, ThreadPool& pool) {
  const Blocks blocks{l};
  MatrixF row(std::min(kBlock, l.rows), l.cols);
  for (int64_t i = 0; i < blocks.count(); ++i) {
    const int64_t height = blocks.block(i, i).rows;
    copy_row(blocks, i, row.view().row_range(0, height));
    const View2<float> own = blocks.block(i, i);
    if (!invert_lower(own)) return false;
    // Above it the inverse is in place already. L_ii is left in `row`.
    pool.for_each(i, [&](int64_t j, int) {
      const View2<float> out = blocks.block(i, j);
      multiply_right(-1.0F, blocks.block(j, j), out);
      if (j + 1 < i) {
        gemm(Trans::kNo, Trans::kNo, -1.0F,
             row.view().block(0, blocks.at(j + 1), height, blocks.at(i) - blocks.at(j + 1)),
             blocks.part(j + 1, i, j, j + 1), 1.0F, out);
      }
      solve_left(row.view().block(0, blocks.at(i), height, height), out);
    });
  }
  return true;
}

bool invert_spd(View2<float> a, ThreadPool& pool) {
  if (!cholesky_lower(a, pool) || !invert_lower(a, pool)) return false;
  square_inverse({a}, pool);
  mirror_lower(a);
  return true;
}

}  // namespace coldpress
