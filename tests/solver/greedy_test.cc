#include "solver/greedy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "solver/sweep.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

constexpr int64_t kRows = 5;
constexpr int64_t kCols = 24;

struct Point {
  testing::Fixture fixture;
  LayerProblem problem;
  Strip strip;
  MatrixF e;

  explicit Point(const GridOptions& options, uint64_t seed)
      : fixture(testing::make_fixture(kRows, kCols, HessianKind::kCorrelated, seed, options)),
        problem{fixture.w.view(), &fixture.hessian, &fixture.grid, {}},
        strip(problem, 0, kRows) {
    const MatrixF q = strip.round_to_nearest();
    e = MatrixF(strip.n(), strip.lanes());
    for (int64_t k = 0; k < e.size(); ++k) e.data()[k] = strip.w().data[k] - q.data()[k];
  }

  // f of a row in the strip's frame, in double.
  double row_error(const std::vector<double>& e_row) const {
    double f = 0;
    for (int64_t a = 0; a < kCols; ++a) {
      for (int64_t b = 0; b < kCols; ++b) {
        f += e_row[static_cast<std::size_t>(a)] * e_row[static_cast<std::size_t>(b)] *
             static_cast<double>(fixture.hessian.correlation()(a, b));
      }
    }
    return f;
  }
  std::vector<double> row(int64_t i) const {
    std::vector<double> out;
    for (int64_t j = 0; j < kCols; ++j) out.push_back(e(j, i));
    return out;
  }
  std::vector<double> errors() const {
    std::vector<double> out;
    for (int64_t i = 0; i < kRows; ++i) out.push_back(row_error(row(i)));
    return out;
  }
};

// The values that entry (row i, column j) of the grid may take, in the strip's frame.
std::vector<double> choices(const Point& p, int64_t i, int64_t j) {
  std::vector<double> values;
  const double frame = p.fixture.hessian.d()[static_cast<std::size_t>(j)] / p.strip.row_unit(i);
  for (int c = 0; c < p.fixture.grid.levels; ++c) {
    values.push_back(p.fixture.grid.value(i, j, static_cast<uint8_t>(c)) * frame);
  }
  return values;
}

TEST(GreedyMoves, TheFirstMoveIsTheBestOfAll) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    Point p({.bits = 3, .group = 8}, seed);
    std::vector<double> least = p.errors();
    for (int64_t i = 0; i < kRows; ++i) {
      const std::vector<double> start = p.row(i);
      for (int64_t j = 0; j < kCols; ++j) {
        for (const double value : choices(p, i, j)) {
          std::vector<double> moved = start;
          moved[static_cast<std::size_t>(j)] = p.strip.w()(j, i) - value;
          double& best = least[static_cast<std::size_t>(i)];
          best = std::min(best, p.row_error(moved));
        }
      }
    }
    greedy_moves(p.strip, p.fixture.hessian.correlation(), 1, p.e.view());
    const std::vector<double> got = p.errors();
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], least[i], 1e-4 * least[i]);
  }
}

TEST(GreedyMoves, EndsWhereNoSweepFindsAMove) {
  for (const char* kind : {"affine", "nf4"}) {
    Point p({.kind = kind, .bits = kind[0] == 'a' ? 2 : 4, .group = 12}, 3);
    const std::vector<double> before = p.errors();
    EXPECT_GT(greedy_moves(p.strip, p.fixture.hessian.correlation(), 10000, p.e.view()), 0);
    const std::vector<double> after = p.errors();
    for (std::size_t i = 0; i < after.size(); ++i) EXPECT_LE(after[i], before[i] * (1 + 1e-6));
    SweepScratch scratch;
    coordinate_sweep(p.strip, p.fixture.hessian.correlation(), false, p.e.view(), &scratch);
    const std::vector<double> swept = p.errors();
    for (std::size_t i = 0; i < after.size(); ++i) EXPECT_NEAR(swept[i], after[i], 1e-4 * after[i]);
  }
}

TEST(GreedyMoves, NoMovesAllowedMovesNothing) {
  Point p({.bits = 3}, 1);
  const MatrixF before = p.e.clone();
  EXPECT_EQ(greedy_moves(p.strip, p.fixture.hessian.correlation(), 0, p.e.view()), 0);
  EXPECT_EQ(0, std::memcmp(before.data(), p.e.data(),
                           static_cast<std::size_t>(before.size()) * sizeof(float)));
}

TEST(Strip, ProjectRowIsProjectLaneByLane) {
  for (const char* kind : {"affine", "fp4"}) {
    const Point p({.kind = kind, .bits = 4, .group = 6}, 2);
    MatrixF t(kCols, p.strip.lanes());
    Rng rng(7);
    for (int64_t k = 0; k < t.size(); ++k) t.data()[k] = static_cast<float>(rng.normal());
    for (int64_t i = 0; i < kRows; ++i) {
      std::vector<float> in;
      std::vector<float> out(static_cast<std::size_t>(kCols));
      for (int64_t j = 0; j < kCols; ++j) in.push_back(t(j, i));
      p.strip.project_row(i, in.data(), out.data());
      for (int64_t j = 0; j < kCols; ++j) {
        std::vector<float> column(static_cast<std::size_t>(p.strip.lanes()));
        p.strip.project(j, t.row(j), column.data());
        EXPECT_EQ(out[static_cast<std::size_t>(j)], column[static_cast<std::size_t>(i)]);
      }
    }
  }
}

}  // namespace
}  // namespace coldpress
