// llama.cpp's formats as grids: what is packed decodes, through ggml's own functions, to the grid's
// values, and the ranges are no worse than those ggml chooses.
#include "grid/block_format.h"

#include <ggml.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "grid/table.h"
#include "io/ggml_codec.h"

namespace coldpress {
namespace {

constexpr int64_t kRows = 12;
constexpr int64_t kCols = 768;

class BlockGrid : public ::testing::TestWithParam<const GridKind*> {
 protected:
  const GridKind& kind() const { return *GetParam(); }
  const BlockFormat& format() const { return *kind().block; }
  QuantGrid fit(const MatrixF& w, const std::vector<float>& h) const {
    return kind().fit({.kind = std::string(kind().name), .bits = format().bits}, w.view(), h);
  }
  MatrixF decoded(const QuantGrid& grid, const Matrix<uint8_t>& codes) const {
    const Matrix<std::byte> bytes = encode_blocks(format(), grid, codes.view());
    MatrixF out(codes.rows(), codes.cols());
    EXPECT_TRUE(decode_ggml(format().ggml_type,
                            {bytes.data(), static_cast<std::size_t>(bytes.size())}, codes.cols(),
                            {out.data(), static_cast<std::size_t>(out.size())}));
    return out;
  }
};

MatrixF weights(uint64_t seed) {
  Rng rng(seed);
  MatrixF w(kRows, kCols);
  for (int64_t i = 0; i < kRows; ++i) {
    // Rows of different sizes, and groups of different means.
    for (int64_t j = 0; j < kCols; ++j) {
      const double mean = 0.3 * std::sin(static_cast<double>(j / 16 + i));
      w(i, j) =
          static_cast<float>(std::pow(2.0, static_cast<double>(i) - 8) * (rng.normal() + mean));
    }
  }
  return w;
}

std::vector<float> column_weights(uint64_t seed) {
  Rng rng(seed);
  std::vector<float> h(kCols);
  for (float& v : h) v = static_cast<float>(std::exp(rng.normal()));
  return h;
}

// Every code in every place; with a book, points of it from all over.
Matrix<uint8_t> random_codes(const QuantGrid& grid, Rng& rng) {
  Matrix<uint8_t> codes(grid.rows, grid.cols);
  for (int64_t k = 0; k < codes.size(); ++k) {
    codes.data()[k] = static_cast<uint8_t>(rng.below(static_cast<uint64_t>(grid.levels)));
  }
  if (grid.book == nullptr) return codes;
  MatrixF values(grid.rows, grid.cols);
  decode(grid, codes.view(), values.view());
  return round_to_grid(grid, values.view(),
                       std::vector<float>(static_cast<std::size_t>(grid.cols), 1.0F));
}

double weighted_error(const MatrixF& w, const MatrixF& q, const std::vector<float>& h, int64_t i) {
  double sum = 0;
  for (int64_t j = 0; j < w.cols(); ++j) {
    const double e = static_cast<double>(q(i, j)) - w(i, j);
    sum += h[static_cast<std::size_t>(j)] * e * e;
  }
  return sum;
}

TEST_P(BlockGrid, HasTheSizeThatGgmlGivesItsType) {
  const auto info = ggml_type_info(format().ggml_type);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->name.size(), kind().name.size());
  EXPECT_EQ(info->block_elements, format().block);
  EXPECT_EQ(info->block_bytes, format().block_bytes);
  EXPECT_DOUBLE_EQ(kind().bits_per_weight({}, 768), 8.0 * static_cast<double>(info->block_bytes) /
                                                        static_cast<double>(info->block_elements));
}

TEST_P(BlockGrid, PackedBlocksDecodeToTheValuesOfTheGrid) {
  const MatrixF w = weights(1);
  const QuantGrid grid = fit(w, column_weights(2));
  Rng rng(3);
  const Matrix<uint8_t> codes = random_codes(grid, rng);
  const MatrixF q = decoded(grid, codes);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < kCols; ++j) {
      const float s = std::abs(grid.scale(i, j / grid.group));
      ASSERT_NEAR(q(i, j), grid.value(i, j, codes(i, j)),
                  1e-5F * s * static_cast<float>(grid.levels))
          << kind().name << " " << i << " " << j;
    }
  }
}

TEST_P(BlockGrid, RangesAreNoWorseThanThoseOfGgml) {
  const auto type = static_cast<ggml_type>(format().ggml_type);
  double ours = 0;
  double theirs = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const MatrixF w = weights(seed);
    const std::vector<float> h = column_weights(seed + 10);
    const QuantGrid grid = fit(w, h);
    const MatrixF q = decoded(grid, round_to_grid(grid, w.view(), h));
    const auto row_bytes = static_cast<std::size_t>(*ggml_row_bytes(format().ggml_type, kCols));
    std::vector<std::byte> bytes(kRows * row_bytes);
    ggml_quantize_chunk(type, w.data(), bytes.data(), 0, kRows, kCols, h.data());
    MatrixF peer(kRows, kCols);
    ASSERT_TRUE(decode_ggml(format().ggml_type, bytes, kCols,
                            {peer.data(), static_cast<std::size_t>(peer.size())}));
    for (int64_t i = 0; i < kRows; ++i) {
      const double unit = std::pow(4.0, 8.0 - static_cast<double>(i));
      ours += unit * weighted_error(w, q, h, i);
      theirs += unit * weighted_error(w, peer, h, i);
    }
  }
  EXPECT_LE(ours, theirs) << kind().name;
  RecordProperty("share_of_ggml", std::to_string(ours / theirs));
}

TEST_P(BlockGrid, ZeroRowsAndHugeAndTinyOnesAreFinite) {
  MatrixF w = weights(5);
  for (int64_t j = 0; j < kCols; ++j) {
    w(0, j) = 0;
    w(1, j) *= 1e9F;
    w(2, j) *= 1e-12F;
    w(3, j) = j < 256 ? 0.0F : w(3, j);
    w(4, j) = 0.25F;
  }
  const std::vector<float> h(kCols, 1.0F);
  const QuantGrid grid = fit(w, h);
  for (int64_t k = 0; k < grid.scale.size(); ++k) {
    ASSERT_NE(grid.scale.data()[k], 0.0F);
    ASSERT_TRUE(std::isfinite(grid.scale.data()[k]) && std::isfinite(grid.zero.data()[k]));
  }
  const MatrixF q = decoded(grid, round_to_grid(grid, w.view(), h));
  for (int64_t k = 0; k < q.size(); ++k) ASSERT_TRUE(std::isfinite(q.data()[k]));
  const auto has_zero = [&] {
    const std::vector<float>& level = grid.level;
    return level.empty() || std::find(level.begin(), level.end(), 0.0F) != level.end();
  };
  for (int64_t j = 0; j < kCols; ++j) {
    ASSERT_LE(std::abs(q(0, j)), has_zero() ? 0.0F : 1e-5F) << kind().name;
  }
  for (int64_t j = 0; j < 256; ++j) {
    ASSERT_LE(std::abs(q(3, j)), has_zero() ? 0.0F : 1e-3F) << kind().name;
  }
}

TEST_P(BlockGrid, RefusesWhatItCannotStore) {
  const GridOptions right{.kind = std::string(kind().name), .bits = format().bits};
  EXPECT_TRUE(kind().check(right, 768).ok());
  GridOptions wrong = right;
  wrong.bits = format().bits == 8 ? 7 : format().bits + 1;
  EXPECT_FALSE(kind().check(wrong, 768).ok());
  wrong = right;
  wrong.symmetric = true;
  EXPECT_FALSE(kind().check(wrong, 768).ok());
  const Status odd = kind().check(right, 768 + 16);
  ASSERT_FALSE(odd.ok());
  EXPECT_NE(odd.message().find(std::to_string(format().block)), std::string::npos);
}

std::vector<const GridKind*> block_kinds() {
  std::vector<const GridKind*> kinds;
  for (const GridKind* kind : grid_table()) {
    if (kind->block != nullptr) kinds.push_back(kind);
  }
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(Formats, BlockGrid, ::testing::ValuesIn(block_kinds()),
                         [](const auto& test) { return std::string(test.param->name); });

}  // namespace
}  // namespace coldpress
