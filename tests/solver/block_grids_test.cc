// Every method on llama.cpp's block formats: what is packed and decoded by ggml has the error that
// the method reports.
#include <ggml.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "grid/block_format.h"
#include "io/ggml_codec.h"
#include "solver/scale_sweep.h"
#include "tests/solver/layer_problems.h"

namespace coldpress {
namespace {

using testing::HessianKind;

std::vector<const GridKind*> block_kinds() {
  std::vector<const GridKind*> kinds;
  for (const GridKind* kind : grid_table()) {
    if (kind->block != nullptr) kinds.push_back(kind);
  }
  return kinds;
}

class BlockGrids : public ::testing::TestWithParam<const GridKind*> {
 protected:
  testing::Fixture fixture(HessianKind kind, uint64_t seed, int64_t rows = 6) const {
    return testing::make_fixture(
        rows, 256, kind, seed,
        {.kind = std::string(GetParam()->name), .bits = GetParam()->block->bits});
  }
  LayerSolution solve(const char* method, testing::Fixture& f, SolverOptions options = {}) const {
    ThreadPool pool(1);
    return (*find_solver(method))->solve({f.w.view(), &f.hessian, &f.grid, {}}, options, pool);
  }
  // f of the packed blocks as ggml reads them.
  double packed_error(const testing::Fixture& f, const LayerSolution& s) const {
    const BlockFormat& format = *GetParam()->block;
    const Matrix<std::byte> bytes = encode_blocks(format, s.grid, s.codes.view());
    MatrixF q(f.w.rows(), f.w.cols());
    EXPECT_TRUE(decode_ggml(format.ggml_type,
                            {bytes.data(), static_cast<std::size_t>(bytes.size())}, f.w.cols(),
                            {q.data(), static_cast<std::size_t>(q.size())}));
    return testing::oracle_error(f.w.view(), q.view(), f.h.view());
  }
};

TEST_P(BlockGrids, EveryMethodIsNoWorseThanRtnAndPacksToItsOwnError) {
  uint64_t seed = 1;
  for (const HessianKind kind :
       {HessianKind::kCorrelated, HessianKind::kSingular, HessianKind::kDead}) {
    for (const char* method : {"rtn", "gptq", "quantease", "admm-q"}) {
      SCOPED_TRACE(::testing::Message() << method << " kind " << static_cast<int>(kind));
      testing::Fixture f = fixture(kind, ++seed);
      const LayerSolution s = solve(method, f, {.refit_rounds = 2});
      EXPECT_LE(s.error, s.rtn_error);
      EXPECT_NEAR(packed_error(f, s), s.error, 2e-3 * s.rtn_error + 1e-6 * s.energy);
    }
  }
}

TEST_P(BlockGrids, AdmmQIsNotAboveGptqOrQuantEaseAndRefitsPay) {
  double plain = 0;
  double refitted = 0;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    testing::Fixture f = fixture(HessianKind::kCorrelated, seed);
    const double admm = solve("admm-q", f).error;
    const double gptq = solve("gptq", f).error;
    EXPECT_LE(admm, gptq * (1 + 1e-4));
    EXPECT_LE(admm, solve("quantease", f).error * (1 + 1e-4));
    plain += gptq;
    refitted += solve("gptq", f, {.refit_rounds = 3}).error;
  }
  EXPECT_LT(refitted, plain);
}

// The same diagonal of H is all that llama.cpp's own quantiser sees of it.
TEST_P(BlockGrids, IsFarBelowImatrixWeightedRounding) {
  const BlockFormat& format = *GetParam()->block;
  double gptq = 0;
  double admm = 0;
  double peer = 0;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    testing::Fixture f = fixture(HessianKind::kCorrelated, seed, 32);
    gptq += packed_error(f, solve("gptq", f));
    admm += packed_error(f, solve("admm-q", f));
    MatrixF q(f.w.rows(), f.w.cols());
    std::vector<std::byte> bytes(static_cast<std::size_t>(f.w.rows()) *
                                 *ggml_row_bytes(format.ggml_type, f.w.cols()));
    ggml_quantize_chunk(static_cast<ggml_type>(format.ggml_type), f.w.data(), bytes.data(), 0,
                        f.w.rows(), f.w.cols(), f.hessian.diagonal().data());
    ASSERT_TRUE(decode_ggml(format.ggml_type, bytes, f.w.cols(),
                            {q.data(), static_cast<std::size_t>(q.size())}));
    peer += testing::oracle_error(f.w.view(), q.view(), f.h.view());
  }
  // With an offset per group, rounding itself is nearer, and the gain smaller.
  EXPECT_LT(gptq, (format.has_offset ? 0.9 : 0.6) * peer);
  EXPECT_LT(admm, (format.has_offset ? 0.8 : 0.5) * peer);
  RecordProperty("gptq_of_ggml", std::to_string(gptq / peer));
  RecordProperty("admm_of_ggml", std::to_string(admm / peer));
}

TEST_P(BlockGrids, AScaleSweepNeverRaisesTheErrorAndStaysStorable) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    testing::Fixture f = fixture(HessianKind::kCorrelated, seed);
    const LayerProblem problem{f.w.view(), &f.hessian, &f.grid, {}};
    Strip strip(problem, 0, 6);
    MatrixF q = strip.round_to_nearest();
    MatrixF e(q.rows(), q.cols());
    MatrixF product(q.rows(), q.cols());
    for (int64_t k = 0; k < e.size(); ++k) e.data()[k] = strip.w().data[k] - q.data()[k];
    const std::vector<double> before = strip.errors(e.view(), product.view());
    scale_sweep(&strip, e.view());
    const std::vector<double> after = strip.errors(e.view(), product.view());
    for (std::size_t i = 0; i < before.size(); ++i) {
      EXPECT_LE(after[i], before[i] * (1 + 1e-4)) << i;
    }
    for (int64_t g = 0; g < strip.scales().rows; ++g) {
      for (int64_t i = 0; i < 6; ++i) {
        const float s = strip.scales()(g, i);
        EXPECT_EQ(strip.storable(g, i, s), s);
        // e' goes with the scales and zeros.
        for (int64_t j = g * strip.group(); j < (g + 1) * strip.group(); ++j) {
          const float point = strip.w()(j, i) - e(j, i);
          EXPECT_NEAR(point, strip.point(j, i, strip.code(j, i, point)), 1e-4F);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, BlockGrids, ::testing::ValuesIn(block_kinds()),
                         [](const auto& test) { return std::string(test.param->name); });

}  // namespace
}  // namespace coldpress
