// Errors that reach a linear through its inputs: how they are measured, and what is asked of the
// linear in return.
#include "pipeline/propagation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "calibration/streamer.h"
#include "linalg/bf16.h"
#include "tests/pipeline/tiny_runs.h"

namespace coldpress {
namespace {

using test::random_windows;

MatrixF random_matrix(int64_t rows, int64_t cols, Rng& rng) {
  MatrixF m(rows, cols);
  for (int64_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(rng.normal());
  return m;
}

// sum += a^T b
void add_product(const MatrixF& a, const MatrixF& b, MatrixD& sum) {
  for (int64_t t = 0; t < a.rows(); ++t) {
    for (int64_t i = 0; i < a.cols(); ++i) {
      for (int64_t j = 0; j < b.cols(); ++j) {
        sum(i, j) += static_cast<double>(a(t, i)) * static_cast<double>(b(t, j));
      }
    }
  }
}

// a - b, but of a window's first token nothing.
MatrixF drift_of(const MatrixF& a, const MatrixF& b) {
  MatrixF d(a.rows(), a.cols());
  for (int64_t i = a.cols(); i < a.size(); ++i) d.data()[i] = a.data()[i] - b.data()[i];
  return d;
}

// a w^T
MatrixF times_transposed(const MatrixF& a, View2<const float> w) {
  MatrixF product(a.rows(), w.rows);
  for (int64_t t = 0; t < a.rows(); ++t) {
    for (int64_t i = 0; i < w.rows; ++i) {
      double y = 0;
      for (int64_t j = 0; j < w.cols; ++j) {
        y += static_cast<double>(a(t, j)) * static_cast<double>(w(i, j));
      }
      product(t, i) = static_cast<float>(y);
    }
  }
  return product;
}

// a + scale b
MatrixF sum_of(const MatrixF& a, const MatrixF& b, float scale) {
  MatrixF sum = a.clone();
  for (int64_t i = 0; i < sum.size(); ++i) sum.data()[i] += scale * b.data()[i];
  return sum;
}

// `tolerance`: of the largest entry.
void expect_close(const MatrixD& got, const MatrixD& want, double tolerance) {
  ASSERT_EQ(got.rows(), want.rows());
  ASSERT_EQ(got.cols(), want.cols());
  double largest = 0;
  double worst = 0;
  for (int64_t i = 0; i < want.rows() * want.cols(); ++i) {
    largest = std::max(largest, std::abs(want.data()[i]));
    worst = std::max(worst, std::abs(got.data()[i] - want.data()[i]));
  }
  EXPECT_LT(worst, tolerance * largest);
}

// Both triangles.
MatrixD copy_of_lower(const Gram& gram) {
  MatrixD all(gram.n(), gram.n());
  for (int64_t i = 0; i < gram.n(); ++i) {
    for (int64_t j = 0; j <= i; ++j) all(i, j) = all(j, i) = gram.sum()(i, j);
  }
  return all;
}

// Two streams of one window, run by hand.
struct Streams {
  MatrixF residual;
  MatrixF tap;
};

Streams next(StageRunner& runner, const BlockWeights& weights, int stage, int64_t width,
             Streams state) {
  MatrixF tap(state.residual.rows(), width);
  EXPECT_TRUE(
      runner.run(weights, 0, stage, state.residual.view(), state.tap.view(), tap.view()).ok());
  state.tap = std::move(tap);
  return state;
}

// What one streamer saved is what another has, that embedded nothing.
TEST(Streamer, RestoresWhatItSaved) {
  const std::string path = test::tiny("llama");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const std::unique_ptr<Model> model = Model::open(path).value();
  const CalibrationWindows windows = random_windows(11, 32);
  ThreadPool pool(2);
  std::vector<std::byte> saved;
  const auto bytes_of = [](CalibrationStreamer& streamer) {
    std::vector<std::byte> bytes;
    EXPECT_TRUE(streamer
                    .save([&](std::span<const std::byte> piece) {
                      bytes.insert(bytes.end(), piece.begin(), piece.end());
                      return Status();
                    })
                    .ok());
    return bytes;
  };
  {
    CalibrationStreamer streamer(*model, windows, pool, true);
    const HeadWeights head = HeadWeights::load(*model).value();
    ASSERT_TRUE(streamer.embed(head).ok());
    ASSERT_TRUE(streamer.embed_source(head).ok());
    saved = bytes_of(streamer);
    ASSERT_EQ(static_cast<int64_t>(saved.size()), streamer.state_bytes());
  }
  CalibrationStreamer other(*model, windows, pool, true);
  std::size_t at = 0;
  ASSERT_TRUE(other
                  .restore([&](std::span<std::byte> piece) {
                    std::copy_n(saved.begin() + static_cast<std::ptrdiff_t>(at), piece.size(),
                                piece.begin());
                    at += piece.size();
                    return Status();
                  })
                  .ok());
  EXPECT_EQ(at, saved.size());
  EXPECT_TRUE(bytes_of(other) == saved);
}

class Drift : public testing::TestWithParam<const char*> {};

// Granite multiplies what it adds to the residual stream.
INSTANTIATE_TEST_SUITE_P(Families, Drift, testing::Values("llama", "granite"));

// Sums of products that are of bf16 where the processor has them.
const double kOfProducts = has_bf16_products() ? 4e-3 : 1e-4;

TEST_P(Drift, IsTheDistanceFromTheUnquantisedModelByHalvesWithoutFirstTokens) {
  const std::string path = test::tiny(GetParam());
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const std::unique_ptr<Model> model = Model::open(path).value();
  const CalibrationWindows windows = random_windows(11, 32);
  ThreadPool pool(2);
  CalibrationStreamer streamer(*model, windows, pool, true, {.taps = TapType::kSingle});
  const HeadWeights head = HeadWeights::load(*model).value();
  const BlockWeights source = BlockWeights::load(*model, 0).value();
  BlockWeights weights = BlockWeights::load(*model, 0).value();
  Rng rng(7);
  for (const char* role : {"attn_q", "attn_v", "attn_o", "ffn_up"}) {
    const View2<float> w = weights.linear(role);
    for (int64_t i = 0; i < w.rows * w.cols; ++i)
      w.data[i] += 0.02F * static_cast<float>(rng.normal());
  }
  ASSERT_TRUE(streamer.embed(head).ok());
  ASSERT_TRUE(streamer.embed_source(head).ok());
  StageRunner runner(model->config());
  std::vector<std::array<Streams, 2>> states(11);  // pressed, source
  for (int64_t w = 0; w < 11; ++w) {
    for (Streams& s : states[static_cast<std::size_t>(w)]) {
      s.residual = MatrixF(32, model->config().hidden);
      ASSERT_TRUE(runner.embed(head, windows.window(w), s.residual.view()).ok());
    }
  }
  const std::vector<Tap> taps = model->taps(0);
  for (int stage = 0; stage < 4; ++stage) {
    const Tap& tap = taps[static_cast<std::size_t>(stage)];
    const TapSums sums = streamer.run_stage(weights, &source, 0, stage, taps).value();
    const bool adds = stage == 1 || stage == 3;
    const int64_t rows = adds ? model->config().hidden : tap.width;
    MatrixD even_gram(tap.width, tap.width);
    std::array<MatrixD, 2> drift = {MatrixD(rows, tap.width), MatrixD(rows, tap.width)};
    for (std::size_t w = 0; w < states.size(); ++w) {
      auto& [pressed, original] = states[w];
      pressed = next(runner, weights, stage, tap.width, std::move(pressed));
      original = next(runner, source, stage, tap.width, std::move(original));
      MatrixF d = drift_of(original.tap, pressed.tap);
      if (adds) {
        const std::string& role = tap.linears.front().role;
        const auto scale = static_cast<float>(model->config().residual_scale);
        d = sum_of(drift_of(original.residual, pressed.residual),
                   times_transposed(d, weights.linear(role)), scale);
      }
      add_product(d, pressed.tap, drift[w % 2]);
      if (w % 2 == 0) add_product(pressed.tap, pressed.tap, even_gram);
    }
    ASSERT_TRUE(sums.drift.is_measured());
    for (std::size_t half = 0; half < 2; ++half) {
      if (stage > 0) expect_close(sums.drift.halves[half], drift[half], kOfProducts);
    }
    EXPECT_EQ(sums.drift.is_of_stream, adds);
    EXPECT_EQ(sums.drift.even.tokens(), 6 * 32);
    EXPECT_EQ(sums.gram.tokens(), 11 * 32);
    expect_close(copy_of_lower(sums.drift.even), even_gram, 1e-4);
  }
}

// Tokens of x and x^ = x - drift, in two halves.
struct Synthetic {
  TapSums sums;
  MatrixF x;
  MatrixF seen;
};

constexpr int64_t kInputs = 24;

// drift = share of it that x^ predicts, plus noise.
Synthetic synthetic(int64_t tokens, float predictable, float noise, uint64_t seed) {
  Rng rng(99);
  const MatrixF map = random_matrix(kInputs, kInputs, rng);
  Rng draw(seed);
  Synthetic s;
  s.seen = random_matrix(tokens, kInputs, draw);
  s.x = s.seen.clone();
  MatrixF drift(tokens, kInputs);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < kInputs; ++i) {
      double d = noise * draw.normal();
      for (int64_t j = 0; j < kInputs; ++j) {
        d += static_cast<double>(predictable * map(i, j) * s.seen(t, j));
      }
      drift(t, i) = static_cast<float>(d);
      s.x(t, i) += drift(t, i);
    }
  }
  s.sums.gram = Gram(kInputs);
  s.sums.drift.even = Gram(kInputs);
  for (std::size_t half = 0; half < 2; ++half) {
    MatrixD& sum = s.sums.drift.halves[half];
    sum = MatrixD(kInputs, kInputs);
    MatrixF seen(tokens / 2, kInputs);
    MatrixF moved(tokens / 2, kInputs);
    const auto first = static_cast<int64_t>(half) * (tokens / 2);
    std::memcpy(seen.data(), s.seen.row(first), static_cast<std::size_t>(seen.size()) * 4);
    std::memcpy(moved.data(), drift.row(first), static_cast<std::size_t>(seen.size()) * 4);
    MatrixD gram(kInputs, kInputs);
    add_product(seen, seen, gram);
    MatrixF lower(kInputs, kInputs);
    for (int64_t i = 0; i < gram.size(); ++i) lower.data()[i] = static_cast<float>(gram.data()[i]);
    s.sums.gram.add(lower.view(), tokens / 2);
    if (half == 0) s.sums.drift.even.add(lower.view(), tokens / 2);
    add_product(moved, seen, sum);
  }
  return s;
}

// sum over tokens of |W x - V x^|^2
double output_error(const MatrixF& w, const MatrixF& v, const Synthetic& s) {
  double error = 0;
  for (int64_t t = 0; t < s.x.rows(); ++t) {
    for (int64_t i = 0; i < w.rows(); ++i) {
      double d = 0;
      for (int64_t j = 0; j < w.cols(); ++j) {
        d += static_cast<double>(w(i, j)) * static_cast<double>(s.x(t, j)) -
             static_cast<double>(v(i, j)) * static_cast<double>(s.seen(t, j));
      }
      error += d * d;
    }
  }
  return error;
}

TEST(TargetShift, MakesGoodWhatInputsTellOfTheDrift) {
  const Synthetic s = synthetic(4000, 0.05F, 0.01F, 1);
  const Synthetic other = synthetic(1000, 0.05F, 0.01F, 2);
  Rng rng(3);
  const MatrixF w = random_matrix(40, kInputs, rng);
  MatrixF shifted = w.clone();
  ThreadPool pool(2);
  const TargetShift shift(s.sums, 1, pool);
  EXPECT_GT(std::ranges::min(shift.shares()), 0.95);
  shift.apply(shifted.view(), pool);
  // What is left is the noise: 0.01^2 of 24 x 0.05^2 + 0.01^2, and the damping's share.
  EXPECT_LT(output_error(w, shifted, other), 0.01 * output_error(w, w, other));
}

TEST(TargetShift, LeavesWeightsAloneWhereDriftIsNoise) {
  const Synthetic s = synthetic(60, 0, 0.3F, 4);  // few tokens: a regression fits them well
  const Synthetic other = synthetic(1000, 0, 0.3F, 5);
  Rng rng(3);
  const MatrixF w = random_matrix(40, kInputs, rng);
  MatrixF shifted = w.clone();
  ThreadPool pool(1);
  const TargetShift shift(s.sums, 1, pool);
  const std::vector<double>& shares = shift.shares();
  EXPECT_LT(std::ranges::max(shares), 0.6);
  EXPECT_LT(std::accumulate(shares.begin(), shares.end(), 0.0) / kInputs, 0.15);
  shift.apply(shifted.view(), pool);
  EXPECT_LT(output_error(w, shifted, other), 1.02 * output_error(w, w, other));
}

// One channel's drift is foreseeable, the other's is not: each has its own share.
TEST(TargetShift, EachChannelHasItsOwnShare) {
  Synthetic s = synthetic(400, 0.05F, 0, 1);
  const Synthetic noise = synthetic(400, 0, 1, 1);  // the same x^
  for (std::size_t half = 0; half < 2; ++half) {
    for (int64_t j = 0; j < kInputs; ++j) {
      s.sums.drift.halves[half](1, j) = noise.sums.drift.halves[half](1, j);
    }
  }
  ThreadPool pool(1);
  const TargetShift shift(s.sums, 1, pool);
  EXPECT_GT(shift.shares()[0], 0.95);
  EXPECT_LT(shift.shares()[1], 0.4);
}

TEST(TargetShift, DoesNothingWithoutDrift) {
  TapSums sums;
  sums.gram = Gram(kInputs);
  Rng rng(3);
  const MatrixF w = random_matrix(5, kInputs, rng);
  MatrixF shifted = w.clone();
  ThreadPool pool(1);
  TargetShift(sums, 1, pool).apply(shifted.view(), pool);
  EXPECT_EQ(0, std::memcmp(w.data(), shifted.data(), static_cast<std::size_t>(w.size()) * 4));
}

// The stream's drift is asked of the linear by itself, over the block's own factor.
TEST(TargetShift, AddsTheStreamsDriftOverItsScale) {
  Synthetic s = synthetic(4000, 0, 0, 6);
  Rng rng(8);
  const MatrixF map = random_matrix(5, kInputs, rng);
  s.sums.drift.is_of_stream = true;
  for (std::size_t half = 0; half < 2; ++half) {
    MatrixD& sum = s.sums.drift.halves[half];
    sum = MatrixD(5, kInputs);
    const MatrixD even = copy_of_lower(s.sums.drift.even);
    const MatrixD all = copy_of_lower(s.sums.gram);
    for (int64_t i = 0; i < 5; ++i) {
      for (int64_t j = 0; j < kInputs; ++j) {
        for (int64_t k = 0; k < kInputs; ++k) {
          const double gram = half == 0 ? even(j, k) : all(j, k) - even(j, k);
          sum(i, j) += static_cast<double>(map(i, k)) * gram;
        }
      }
    }
  }
  MatrixF shifted(5, kInputs);
  ThreadPool pool(1);
  TargetShift(s.sums, 0.5, pool).apply(shifted.view(), pool);
  for (int64_t i = 0; i < shifted.size(); ++i) {
    EXPECT_NEAR(shifted.data()[i], 2 * map.data()[i], 0.06);
  }
}

}  // namespace
}  // namespace coldpress
