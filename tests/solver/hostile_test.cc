// The guarantee, on problems that calibration and checkpoints should not contain but do: every
// method x grid on seeded small cases with degenerate Hessians, activations and weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "grid/block_format.h"
#include "tests/sanitizers.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

// 10,000 cases per method and grid, fewer where a single block has 256 columns; a build with
// sanitizers runs every tenth, or every hundredth where it looks for races, which need no odd
// numbers.
constexpr int kCases = 10000;
constexpr int kWideBlockCases = 60;
constexpr int kShards = 4;
constexpr int kStride = kThreadSanitizer ? 100 : kAddressSanitizer ? 10 : 1;

struct Hostile {
  MatrixF w;
  MatrixF h;
  GridOptions grid;
  std::string story;
};

double power_of_ten(Rng& rng, double from, double to) {
  return std::pow(10.0, from + (to - from) * rng.uniform());
}

// Activations (tokens, n) whose Gram is H, in double.
MatrixD hostile_activations(int64_t n, Rng& rng, std::string* story) {
  enum { kPlain, kFew, kNone, kOne, kScaled, kDead, kConstant, kHugeColumn, kRepeated, kCount };
  const auto kind = static_cast<int>(rng.below(kCount));
  constexpr const char* kNames[] = {"plain", "few tokens",   "no tokens",   "one token", "scaled",
                                    "dead",  "constant col", "huge column", "repeated"};
  *story += std::string(" X=") + kNames[kind];
  int64_t tokens = 2 * n + 1;
  if (kind == kFew) tokens = 1 + static_cast<int64_t>(rng.below(static_cast<uint64_t>(n)));
  if (kind == kNone) tokens = 0;
  if (kind == kOne) tokens = 1;
  MatrixD x(tokens, n);
  std::vector<double> unit(static_cast<std::size_t>(n), 1.0);
  if (kind == kScaled) {
    for (double& u : unit) u = power_of_ten(rng, -10, 10);  // H from 1e-20 to 1e+20
  }
  if (kind == kDead) {
    for (double& u : unit) u = rng.below(2) == 0 ? 0.0 : 1.0;
  }
  if (kind == kHugeColumn) unit[rng.below(static_cast<uint64_t>(n))] = 1e9;
  const double mix = rng.uniform() * 3;
  for (int64_t t = 0; t < tokens; ++t) {
    const double common = mix * rng.normal();
    for (int64_t j = 0; j < n; ++j) {
      x(t, j) = unit[static_cast<std::size_t>(j)] * (rng.normal() + common);
    }
    if (kind == kConstant) x(t, 0) = 3.0;
    if (kind == kRepeated) {
      for (int64_t j = 1; j < n; j += 2) x(t, j) = -x(t, j - 1);
    }
  }
  return x;
}

MatrixF hostile_hessian(int64_t n, Rng& rng, std::string* story) {
  const MatrixD x = hostile_activations(n, rng, story);
  double unit = 1.0;
  if (rng.below(4) == 0) unit = rng.below(2) == 0 ? 1e-20 : 1e20;
  double largest = 0;
  const MatrixD sum = testing::lower_gram(x);
  for (int64_t k = 0; k < sum.size(); ++k) largest = std::max(largest, std::abs(sum.data()[k]));
  unit = std::min(unit, 1e37 / std::max(largest, 1e-30));  // stays in fp32
  // Rounding to fp32 already makes singular Grams slightly indefinite; now and then much more so.
  const double noise = rng.below(8) == 0 ? 1e-5 : 0.0;
  *story += " unit=" + std::to_string(unit) + " noise=" + std::to_string(noise);
  MatrixF h(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double v = sum(i, j) * unit;
      if (i != j) v += noise * rng.normal() * std::sqrt(sum(i, i) * sum(j, j)) * unit;
      h(i, j) = static_cast<float>(v);
      h(j, i) = h(i, j);
    }
  }
  return h;
}

MatrixF hostile_weights(int64_t rows, int64_t n, Rng& rng, std::string* story) {
  enum { kPlain, kZero, kConstant, kHuge, kTiny, kOneHuge, kDenormal, kSparse, kWide, kCount };
  constexpr const char* kNames[] = {"plain",    "zero",     "constant", "huge", "tiny",
                                    "one huge", "denormal", "sparse",   "wide"};
  MatrixF w(rows, n);
  for (int64_t i = 0; i < rows; ++i) {
    const auto kind = static_cast<int>(rng.below(2 * kCount));  // half the rows plain
    *story += std::string(" ") + kNames[kind < kCount ? kind : 0];
    const auto one = static_cast<int64_t>(rng.below(static_cast<uint64_t>(n)));
    for (int64_t j = 0; j < n; ++j) {
      double v = 0.05 * rng.normal();
      if (kind == kZero) v = 0;
      if (kind == kConstant) v = 0.25;
      if (kind == kHuge) v *= 1e30;
      if (kind == kTiny) v *= 1e-30;
      if (kind == kOneHuge && j == one) v = 1e30;
      if (kind == kDenormal) v *= 1e-39;
      if (kind == kSparse && j != one) v = 0;
      if (kind == kWide) v *= power_of_ten(rng, -15, 15);
      w(i, j) = static_cast<float>(v);
    }
  }
  return w;
}

Hostile make_case(const GridKind& kind, uint64_t seed) {
  Rng rng(seed, 77);
  const auto rows = static_cast<int64_t>(1 + rng.below(6));
  auto n = static_cast<int64_t>(1 + rng.below(24));
  if (kind.block != nullptr) n = kind.block->block;
  Hostile c;
  c.story = "seed " + std::to_string(seed) + ":";
  c.h = hostile_hessian(n, rng, &c.story);
  c.w = hostile_weights(rows, n, rng, &c.story);
  c.grid.kind = std::string(kind.name);
  c.grid.bits = kind.fixed_bits != 0 ? kind.fixed_bits : static_cast<int>(2 + rng.below(7));
  c.grid.symmetric = kind.fixed_bits == 0 && rng.below(2) == 0;
  c.grid.clip = rng.below(2) == 0 ? Clip::kNone : Clip::kHessian;
  std::vector<int64_t> groups = {0};
  for (int64_t g = 1; g <= n; ++g) {
    if (n % g == 0) groups.push_back(g);
  }
  c.grid.group = kind.block == nullptr ? groups[rng.below(groups.size())] : 0;
  c.grid.scale_type = kind.block == nullptr && rng.below(2) == 0 ? DType::kF32 : DType::kF16;
  c.story += " rows=" + std::to_string(rows) + " n=" + std::to_string(n) +
             " bits=" + std::to_string(c.grid.bits) + " group=" + std::to_string(c.grid.group);
  return c;
}

// One row's f in double, and what fp32 may make of it: H is known to 1e-7 of sqrt(H_jj H_kk), so f
// is known to 1e-7 (sum_j |e_j| sqrt(H_jj))^2.
struct RowError {
  double f = 0;
  double spread = 0;  // (sum_j |e_j| sqrt(H_jj))^2
};
RowError row_error(View2<const float> w, View2<const float> q, View2<const float> h, int64_t i) {
  RowError r;
  double norm = 0;
  for (int64_t j = 0; j < w.cols; ++j) {
    const double ej = static_cast<double>(q(i, j)) - w(i, j);
    norm += std::abs(ej) * std::sqrt(static_cast<double>(h(j, j)));
    for (int64_t k = 0; k < w.cols; ++k) {
      r.f += ej * (static_cast<double>(q(i, k)) - w(i, k)) * h(j, k);
    }
  }
  r.spread = norm * norm;
  return r;
}

using Parameter = std::tuple<const SolverMethod*, const GridKind*, int>;

class Hostility : public ::testing::TestWithParam<Parameter> {};

TEST_P(Hostility, FiniteAndNeverWorseThanRtn) {
  const auto [method, kind, shard] = GetParam();
  ThreadPool pool(1);
  SolverOptions options;
  if (method->takes_outliers) options.outlier_fraction = 0.05;
  const bool is_wide = kind->block != nullptr && kind->block->block > 32;
  const int cases = is_wide ? kWideBlockCases : kCases;
  for (int seed = shard; seed < cases; seed += kShards * kStride) {
    const Hostile c = make_case(*kind, static_cast<uint64_t>(seed));
    SCOPED_TRACE(c.story);
    ASSERT_TRUE(kind->check(c.grid, c.w.cols()).ok());
    Result<TapHessian> hessian = TapHessian::create("hostile tap", c.h.view());
    ASSERT_TRUE(hessian.ok()) << hessian.status().message();
    const QuantGrid grid = kind->fit(c.grid, c.w.view(), hessian->diagonal());
    for (int64_t k = 0; k < grid.scale.size(); ++k) {
      ASSERT_TRUE(std::isfinite(grid.scale.data()[k]) && grid.scale.data()[k] != 0);
    }
    const LayerSolution s = method->solve({c.w.view(), &*hessian, &grid, {}}, options, pool);
    EXPECT_TRUE(std::isfinite(s.error) && s.error >= 0);
    EXPECT_LE(s.error, s.rtn_error);
    for (int64_t k = 0; k < s.codes.size(); ++k) ASSERT_LT(s.codes.data()[k], grid.levels);
    for (int64_t k = 0; k < s.grid.scale.size(); ++k) {
      ASSERT_TRUE(std::isfinite(s.grid.scale.data()[k]) && s.grid.scale.data()[k] != 0);
      ASSERT_TRUE(std::isfinite(s.grid.zero.data()[k]));
    }
    MatrixF solved(c.w.rows(), c.w.cols());
    MatrixF rounded(c.w.rows(), c.w.cols());
    decode(grid, round_to_grid(grid, c.w.view(), hessian->diagonal()).view(), rounded.view());
    decode(s.grid, s.codes.view(), solved.view());
    s.side.add_to(solved.view());
    for (int64_t i = 0; i < c.w.rows(); ++i) {
      for (int64_t j = 0; j < c.w.cols(); ++j) {
        ASSERT_TRUE(std::isfinite(solved(i, j)));
      }
      const RowError rtn = row_error(c.w.view(), rounded.view(), c.h.view(), i);
      const RowError got = row_error(c.w.view(), solved.view(), c.h.view(), i);
      double norm = 0;
      for (int64_t j = 0; j < c.w.cols(); ++j) {
        norm +=
            std::abs(static_cast<double>(c.w(i, j))) * std::sqrt(static_cast<double>(c.h(j, j)));
      }
      // Below these, f is noise of fp32: H's, and W's (which e is a small difference of).
      const double spread = rtn.spread + got.spread;
      const double noise = 1e-6 * spread + 1e-6 * norm * std::sqrt(spread) + 1e-12 * norm * norm;
      EXPECT_LE(got.f, rtn.f + noise + 1e-37) << "row " << i << " rtn f " << rtn.f;
    }
    if (HasFailure()) return;  // one story is enough
  }
}

std::vector<Parameter> all_parameters() {
  std::vector<Parameter> all;
  for (const SolverMethod* method : solver_table()) {
    for (const GridKind* kind : grid_table()) {
      const bool has_book = kind->block != nullptr && kind->block->vectors.words > 0;
      if (has_book && method->takes_outliers) continue;  // no such solver: plans refuse it
      for (int shard = 0; shard < kShards; ++shard) all.emplace_back(method, kind, shard);
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Table, Hostility, ::testing::ValuesIn(all_parameters()),
                         [](const auto& test) {
                           std::string name = std::string(std::get<0>(test.param)->name) + "_" +
                                              std::string(std::get<1>(test.param)->name) + "_" +
                                              std::to_string(std::get<2>(test.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(HostileHessian, WhatIsNotFiniteIsRefusedNamingTheTap) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (int64_t at = 0; at < 6 * 6; ++at) {
      MatrixF h = testing::random_hessian(6, testing::HessianKind::kCorrelated, 1);
      h(at / 6, at % 6) = bad;
      h(at % 6, at / 6) = bad;
      const Result<TapHessian> tap = TapHessian::create("blocks.3.attn.qkv", h.view());
      ASSERT_FALSE(tap.ok());
      EXPECT_NE(tap.status().message().find("blocks.3.attn.qkv"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace coldpress
