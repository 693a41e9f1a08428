#include "solver/vector_sweep.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "grid/codebook.h"
#include "linalg/blas.h"

namespace coldpress {
namespace {

constexpr int64_t kUnit = Codebook::kUnit;
constexpr int64_t kVectorBlock = 128;        // columns per product
constexpr int64_t kVectorInner = 2 * kUnit;  // updated by each other before the rest of the block
constexpr double kDamping = 1e-4;            // of a block's diagonal, which is 1

// A symmetric block of C: itself, its damped inverse, and the upper u with u^T u = that.
struct Block {
  std::array<float, kUnit * kUnit> c;
  std::array<float, kUnit * kUnit> inverse;
  std::array<float, kUnit * kUnit> u;
};

// Lower l with l l^T = a. False if a is not positive definite.
bool factorise(const std::array<double, kUnit * kUnit>& a, std::array<double, kUnit * kUnit>* l) {
  l->fill(0);
  for (std::size_t i = 0; i < kUnit; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double v = a[i * kUnit + j];
      for (std::size_t k = 0; k < j; ++k) v -= (*l)[i * kUnit + k] * (*l)[j * kUnit + k];
      if (i != j) {
        (*l)[i * kUnit + j] = v / (*l)[j * kUnit + j];
      } else if (v > 0) {
        (*l)[i * kUnit + i] = std::sqrt(v);
      } else {
        return false;
      }
    }
  }
  return true;
}

Block block_of(View2<const float> c) {
  std::array<double, kUnit * kUnit> a;
  std::array<double, kUnit * kUnit> l;
  std::array<double, kUnit * kUnit> inverse{};
  Block block{};
  for (std::size_t i = 0; i < kUnit; ++i) {
    for (std::size_t j = 0; j < kUnit; ++j) {
      block.c[i * kUnit + j] = c(static_cast<int64_t>(i), static_cast<int64_t>(j));
      a[i * kUnit + j] = block.c[i * kUnit + j] + (i == j ? kDamping : 0.0);
    }
  }
  bool good = factorise(a, &l);
  for (std::size_t column = 0; column < kUnit && good; ++column) {
    std::array<double, kUnit> x{};
    x[column] = 1;
    for (std::size_t i = 0; i < kUnit; ++i) {
      for (std::size_t k = 0; k < i; ++k) x[i] -= l[i * kUnit + k] * x[k];
      x[i] /= l[i * kUnit + i];
    }
    for (std::size_t i = kUnit; i-- > 0;) {
      for (std::size_t k = i + 1; k < kUnit; ++k) x[i] -= l[k * kUnit + i] * x[k];
      x[i] /= l[i * kUnit + i];
      inverse[i * kUnit + column] = x[i];
    }
  }
  good = good && factorise(inverse, &l);
  for (std::size_t i = 0; i < kUnit; ++i) {
    for (std::size_t j = 0; j < kUnit; ++j) {
      const double none = i == j ? 1.0 : 0.0;  // of a C that no such block has
      block.inverse[i * kUnit + j] = static_cast<float>(good ? inverse[i * kUnit + j] : none);
      block.u[i * kUnit + j] = static_cast<float>(good ? l[j * kUnit + i] : none);
    }
  }
  return block;
}

// Of a change d of the unit's point where the gradient is g: d^T C d - 2 d^T g.
Lanes change_of_f(const Block& block, const Codebook::Unit& d, const Codebook::Unit& g) {
  Lanes sum{};
  for (std::size_t j = 0; j < kUnit; ++j) {
    Lanes product = -2.0F * g[j];
    for (std::size_t k = 0; k < kUnit; ++k) product += block.c[j * kUnit + k] * d[k];
    sum += d[j] * product;
  }
  return sum;
}

Codebook::Unit steps_of(const Strip& strip, int64_t first, int64_t lane) {
  Codebook::Unit step;
  for (int64_t j = 0; j < kUnit; ++j) {
    step[static_cast<std::size_t>(j)] = strip.step(first + j, lane);
  }
  return step;
}

Codebook::Unit load_unit(View2<const float> rows, int64_t lane) {
  Codebook::Unit unit;
  for (int64_t j = 0; j < kUnit; ++j) {
    unit[static_cast<std::size_t>(j)] = load_lanes(rows.row(j) + lane);
  }
  return unit;
}

void nearest_point(const Codebook& book, const Codebook::Unit& target, const Codebook::Unit& step,
                   Codebook::Unit* q) {
  book.nearest(target, step, q);
  for (std::size_t j = 0; j < kUnit; ++j) (*q)[j] *= step[j];
}

// One unit of all lanes. `change` (unit, lanes) <- what q' grows by.
int64_t move_unit(const Strip& strip, int64_t first, const Block& block,
                  View2<const float> gradient, bool off_grid, View2<float> e, View2<float> change) {
  const Codebook& book = *strip.problem().grid->book;
  int64_t moved = 0;
  for (int64_t lane = 0; lane < strip.lanes(); lane += kLanes) {
    const Codebook::Unit step = steps_of(strip, first, lane);
    const Codebook::Unit g = load_unit(gradient, lane);
    Codebook::Unit q;
    Codebook::Unit target;
    for (std::size_t j = 0; j < kUnit; ++j) {
      const int64_t column = first + static_cast<int64_t>(j);
      q[j] = load_lanes(strip.w().row(column) + lane) - load_lanes(e.row(column) + lane);
      target[j] = q[j];
      for (std::size_t k = 0; k < kUnit; ++k) target[j] += block.inverse[j * kUnit + k] * g[k];
    }
    Codebook::Unit next = q;
    LaneInts moves = every_lane(-1);
    if (off_grid) {
      nearest_point(book, target, step, &next);
      book.improve(target, step, block.u.data(), &next);
    } else {
      moves = book.improve(target, step, block.u.data(), &next);
      Codebook::Unit d;
      for (std::size_t j = 0; j < kUnit; ++j) d[j] = next[j] - q[j];
      moves &= change_of_f(block, d, g) < Lanes{};
    }
    for (int64_t i = 0; i < kLanes; ++i) moved += moves[i] != 0 ? 1 : 0;
    for (std::size_t j = 0; j < kUnit; ++j) {
      const int64_t column = first + static_cast<int64_t>(j);
      const Lanes to = moves ? next[j] : q[j];
      const Lanes now = load_lanes(e.row(column) + lane);
      const Lanes then = moves ? load_lanes(strip.w().row(column) + lane) - to : now;
      store_lanes(then, e.row(column) + lane);
      store_lanes(now - then, change.row(static_cast<int64_t>(j)) + lane);
    }
  }
  return moved;
}

}  // namespace

int64_t unit_sweep(const Strip& strip, View2<const float> correlation, View2<float> e,
                   SweepScratch* scratch) {
  const int64_t n = strip.n();
  const bool off_grid = scratch->off_grid;
  int64_t moved = 0;
  for (int64_t b0 = 0; b0 < n; b0 += kVectorBlock) {
    const int64_t size = std::min(kVectorBlock, n - b0);
    const View2<float> r = scratch->gradient.view().row_range(0, size);
    gemm(Trans::kNo, Trans::kNo, 1.0F, correlation.row_range(b0, size), e, 0.0F, r);
    for (int64_t c0 = 0; c0 < size; c0 += kVectorInner) {
      const int64_t depth = std::min(kVectorInner, size - c0);
      const View2<float> changes = scratch->change.view();
      for (int64_t c = 0; c < depth; c += kUnit) {
        const int64_t first = b0 + c0 + c;
        const View2<float> change = changes.row_range(c, kUnit);
        moved += move_unit(strip, first, block_of(correlation.block(first, first, kUnit, kUnit)),
                           r.row_range(c0 + c, kUnit), off_grid, e, change);
        subtract_products(
            change, kUnit, [&](int64_t j, int64_t k) { return correlation(b0 + k, first + j); },
            c0 + c + kUnit, c0 + depth, r);
      }
      const auto coefficient = [&](int64_t c, int64_t k) {
        return correlation(b0 + k, b0 + c0 + c);
      };
      subtract_products(changes, depth, coefficient, c0 + depth, size, r);
    }
  }
  scratch->off_grid = false;
  return moved;
}

void feed_back_unit(const Strip& strip, int64_t first, View2<const float> t, View2<const float> u,
                    View2<float> q) {
  const Codebook& book = *strip.problem().grid->book;
  std::array<float, kUnit * kUnit> factor{};
  for (int64_t j = 0; j < kUnit; ++j) {
    std::copy_n(u.row(j), kUnit, factor.begin() + j * kUnit);
  }
  for (int64_t lane = 0; lane < strip.lanes(); lane += kLanes) {
    const Codebook::Unit step = steps_of(strip, first, lane);
    const Codebook::Unit target = load_unit(t, lane);
    Codebook::Unit point;
    nearest_point(book, target, step, &point);
    book.improve(target, step, factor.data(), &point);
    for (int64_t j = 0; j < kUnit; ++j) {
      store_lanes(point[static_cast<std::size_t>(j)], q.row(j) + lane);
    }
  }
}

}  // namespace coldpress
