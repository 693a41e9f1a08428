#include "solver/solution_bytes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "grid/block_format.h"
#include "grid/codebook.h"
#include "grid/table.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

template <typename T>
bool same(const Matrix<T>& a, const Matrix<T>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         (a.empty() ||
          std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0);
}

void expect_same(const LayerSolution& a, const LayerSolution& b) {
  EXPECT_TRUE(same(a.codes, b.codes));
  EXPECT_EQ(a.grid.rows, b.grid.rows);
  EXPECT_EQ(a.grid.cols, b.grid.cols);
  EXPECT_EQ(a.grid.group, b.grid.group);
  EXPECT_EQ(a.grid.levels, b.grid.levels);
  EXPECT_EQ(a.grid.zero_is_free, b.grid.zero_is_free);
  EXPECT_EQ(a.grid.scale_rule, b.grid.scale_rule);
  EXPECT_EQ(a.grid.offset_rule, b.grid.offset_rule);
  EXPECT_EQ(a.grid.has_offset, b.grid.has_offset);
  EXPECT_EQ(a.grid.level, b.grid.level);
  EXPECT_EQ(a.grid.book, b.grid.book);
  EXPECT_TRUE(same(a.grid.scale, b.grid.scale));
  EXPECT_TRUE(same(a.grid.zero, b.grid.zero));
  EXPECT_TRUE(same(a.grid.unit, b.grid.unit));
  EXPECT_TRUE(same(a.grid.offset_unit, b.grid.offset_unit));
  ASSERT_EQ(a.side.entries.size(), b.side.entries.size());
  for (std::size_t i = 0; i < a.side.entries.size(); ++i) {
    EXPECT_EQ(a.side.entries[i].row, b.side.entries[i].row);
    EXPECT_EQ(a.side.entries[i].col, b.side.entries[i].col);
    EXPECT_EQ(a.side.entries[i].value, b.side.entries[i].value);
  }
  EXPECT_EQ(a.side.columns, b.side.columns);
  EXPECT_TRUE(same(a.side.column_values, b.side.column_values));
  EXPECT_EQ(a.error, b.error);
  EXPECT_EQ(a.rtn_error, b.rtn_error);
  EXPECT_EQ(a.energy, b.energy);
  EXPECT_EQ(a.gemm_flops, b.gemm_flops);
  EXPECT_EQ(a.outcome.damping, b.outcome.damping);
  EXPECT_EQ(a.outcome.rows_from_rtn, b.outcome.rows_from_rtn);
  EXPECT_EQ(a.outcome.iterations, b.outcome.iterations);
  EXPECT_EQ(a.outcome.fallback, b.outcome.fallback);
}

LayerSolution solve(const GridKind& kind, const GridOptions& options, const char* method,
                    const SolverOptions& how, int64_t rows, int64_t cols) {
  testing::Fixture f = testing::make_fixture(rows, cols, HessianKind::kCorrelated, 3, options);
  const GridFit fit{&kind, options};
  ThreadPool pool(1);
  LayerSolution s =
      (*find_solver(method))->solve({f.w.view(), &f.hessian, &f.grid, {}, &fit}, how, pool);
  s.outcome.fallback = "a sentence";
  return s;
}

LayerSolution small_solution() {
  return solve(**find_grid("affine"), {.bits = 3, .group = 8}, "gptq", {}, 3, 16);
}

Result<LayerSolution> read_affine(std::span<const std::byte> bytes) {
  return solution_from_bytes(bytes, **find_grid("affine"), "here");
}

TEST(SolutionBytes, GoThereAndBackOnEveryGrid) {
  for (const GridKind* kind : grid_table()) {
    SCOPED_TRACE(kind->name);
    GridOptions options{.kind = std::string(kind->name)};
    if (kind->fixed_bits > 0) options.bits = kind->fixed_bits;
    if (kind->block != nullptr) options.group = kind->block->group;
    if (!kind->check(options, 256).ok()) options.group = 32;
    if (!kind->check(options, 256).ok()) options.group = 16;
    ASSERT_TRUE(kind->check(options, 256).ok()) << kind->check(options, 256).message();
    const LayerSolution s = solve(*kind, options, "rtn", {}, 2, 256);
    const auto back = solution_from_bytes(solution_to_bytes(s), *kind, "here");
    ASSERT_TRUE(back.ok()) << back.status().message();
    expect_same(s, *back);
  }
}

TEST(SolutionBytes, GoThereAndBackWithEveryNumberOfBits) {
  for (int bits = 2; bits <= 8; ++bits) {
    SCOPED_TRACE(bits);
    const GridKind& kind = **find_grid("affine");
    // 7 x 24 codes do not fill whole words at 3, 5, 6 and 7 bits.
    const LayerSolution s = solve(kind, {.bits = bits, .group = 8}, "admm-q", {}, 7, 24);
    const auto bytes = solution_to_bytes(s);
    const auto back = solution_from_bytes(bytes, kind, "here");
    ASSERT_TRUE(back.ok()) << back.status().message();
    expect_same(s, *back);
    EXPECT_LT(bytes.size(), 7 * 24 * bits / 8 + 2 * 7 * 3 * 4 + 400U);
  }
}

TEST(SolutionBytes, GoThereAndBackWithOutliers) {
  for (const OutlierMode mode : {OutlierMode::kUnstructured, OutlierMode::kColumns}) {
    SolverOptions how;
    how.outlier_fraction = 0.1;
    how.outlier_mode = mode;
    const GridKind& kind = **find_grid("affine");
    const LayerSolution s = solve(kind, {.bits = 3, .group = 8}, "quantease-outliers", how, 6, 32);
    ASSERT_FALSE(s.side.empty());
    const auto back = solution_from_bytes(solution_to_bytes(s), kind, "here");
    ASSERT_TRUE(back.ok()) << back.status().message();
    expect_same(s, *back);
  }
}

TEST(SolutionBytes, KeepNumbersThatAreNoNumbers) {
  LayerSolution s = small_solution();
  s.grid.zero(1, 1) = std::numeric_limits<float>::quiet_NaN();
  s.error = std::numeric_limits<double>::infinity();
  s.grid.scale(0, 0) = -0.0F;
  const auto back = read_affine(solution_to_bytes(s));
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(same(s.grid.zero, back->grid.zero));
  EXPECT_TRUE(std::signbit(back->grid.scale(0, 0)));
  EXPECT_EQ(s.error, back->error);
}

TEST(SolutionBytes, RefuseEveryOtherLength) {
  std::vector<std::byte> bytes = solution_to_bytes(small_solution());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto back = read_affine(std::span(bytes).first(n));
    ASSERT_FALSE(back.ok()) << n;
    EXPECT_EQ(StatusCode::kCorrupt, back.status().code());
    EXPECT_EQ(0U, back.status().message().find("here: "));
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(read_affine(bytes).ok());
}

// Whatever a byte says, the answer is an error or a solution whose parts fit together.
TEST(SolutionBytes, SurviveEveryChangedByte) {
  const std::vector<std::byte> bytes = solution_to_bytes(small_solution());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    for (const int value : {0, 1, 0x7F, 0x80, 0xFF}) {
      std::vector<std::byte> changed = bytes;
      changed[n] = static_cast<std::byte>(value);
      const auto back = read_affine(changed);
      if (!back.ok()) continue;
      MatrixF w(back->codes.rows(), back->codes.cols());
      decode(back->grid, back->codes.view(), w.view());
      back->side.add_to(w.view());
    }
  }
}

TEST(SolutionBytes, RefuseAGridOfAnotherKind) {
  const auto bytes = solution_to_bytes(small_solution());
  const auto back = solution_from_bytes(bytes, **find_grid("iq2_xxs"), "here");
  ASSERT_FALSE(back.ok());
  EXPECT_NE(std::string::npos, back.status().message().find("iq2_xxs"));
}

TEST(SolutionBytes, RefuseCodesThatAreNoPointOfTheBook) {
  const GridKind& kind = **find_grid("iq2_xxs");
  LayerSolution s = solve(kind, {.kind = "iq2_xxs", .bits = 2, .group = 32}, "rtn", {}, 2, 256);
  for (int code = 0; code < s.grid.levels; ++code) {  // one of them is none
    s.codes(1, 0) = static_cast<uint8_t>(code);
    if (!s.grid.book->has(s.codes.row(1))) break;
  }
  ASSERT_FALSE(s.grid.book->has(s.codes.row(1)));
  EXPECT_FALSE(solution_from_bytes(solution_to_bytes(s), kind, "here").ok());
}

}  // namespace
}  // namespace coldpress
