#include "hessian/off_diagonal.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/check.h"

namespace coldpress {

namespace {

// m <- (M m)^T, M the rotation or its transpose, m symmetric or what that made of such a one: twice
// is M m M^T.
void rotate_half(const Rotation& r, bool back, View2<float> m, ThreadPool& pool) {
  constexpr int64_t kTile = 256;
  pool.for_each((m.rows + kTile - 1) / kTile, [&](int64_t task, int /*worker*/) {
    const int64_t first = task * kTile;
    const View2<float> rows = m.row_range(first, std::min(kTile, m.rows - first));
    if (back) {
      r.to_rows_back(rows);
    } else {
      r.to_rows(rows);
    }
  });
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < i; ++j) std::swap(m(i, j), m(j, i));
  }
}

}  // namespace

double off_diagonal_share(int64_t n, int64_t tokens) {
  constexpr double kMost = 0.5;
  constexpr double kPerColumn = 10;
  if (tokens <= 0) return kMost;
  return std::min(kMost, kPerColumn * static_cast<double>(n) / static_cast<double>(tokens));
}

void shrink_off_diagonal(View2<float> h, double share) {
  const auto kept = static_cast<float>(1 - share);
  for (int64_t i = 0; i < h.rows; ++i) {
    const float diagonal = h(i, i);
    for (int64_t j = 0; j < h.cols; ++j) h(i, j) *= kept;
    h(i, i) = diagonal;
  }
}

void shrink_off_diagonal(View2<float> h, double share, const TapBasis& basis, ThreadPool& pool) {
  if (basis.rotations.empty()) return shrink_off_diagonal(h, share);
  if (share <= 0) return;
  const auto scale = [&](int64_t j) {
    return basis.scales.empty() ? 1.0F : basis.scales[static_cast<std::size_t>(j)];
  };
  const auto kept = static_cast<float>(1 - share);
  const auto given = static_cast<float>(share);
  int64_t first = 0;
  for (const std::shared_ptr<const Rotation>& r : basis.rotations) {
    const int64_t n = r->n();
    // What is shrunk to is as block diagonal as R: D^-1 R diag(R^T D H D R) R^T D^-1.
    MatrixF target(n, n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        target(i, j) = h(first + i, first + j) * scale(first + i) * scale(first + j);
      }
    }
    for (int half = 0; half < 2; ++half) rotate_half(*r, true, target.view(), pool);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        target(i, j) = i == j ? std::max(0.0F, target(i, i)) : 0.0F;
      }
    }
    for (int half = 0; half < 2; ++half) rotate_half(*r, false, target.view(), pool);
    const View2<float> block = h.block(first, first, n, n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        const float to = target(i, j) / (scale(first + i) * scale(first + j));
        block(i, j) = block(j, i) = kept * block(i, j) + given * to;
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < h.cols; ++j) {
        if (j < first || j >= first + n) h(first + i, j) *= kept;
      }
    }
    first += n;
  }
  COLDPRESS_CHECK(first == h.rows);
}

}  // namespace coldpress
