// What runs along with a model: rounding of activations, keys and values.
#include "model/online.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/json.h"
#include "model/model.h"

namespace coldpress {
namespace {

// The rounding by its definition, in double.
std::vector<double> rounded_slowly(const LowBits& how, const std::vector<float>& x) {
  std::vector<double> out;
  const std::size_t group = how.group == 0 ? x.size() : static_cast<std::size_t>(how.group);
  for (std::size_t at = 0; at < x.size(); at += group) {
    double low = 0;
    double high = 0;
    for (std::size_t i = at; i < std::min(at + group, x.size()); ++i) {
      low = std::min<double>(low, x[i]);
      high = std::max<double>(high, x[i]);
    }
    const double half = std::pow(2, how.bits - 1);
    double scale = how.clip * (high - low) / (2 * half - 1);
    double first = std::nearbyint(how.clip * low / scale);
    double last = first + 2 * half - 1;
    if (how.symmetric) {
      scale = how.clip * std::max(high, -low) / (half - 1);
      first = -half;
      last = half - 1;
    }
    for (std::size_t i = at; i < std::min(at + group, x.size()); ++i) {
      out.push_back(scale * std::clamp(std::nearbyint(x[i] / scale), first, last));
    }
  }
  return out;
}

TEST(LowBits, AreTheNearestPointsOfTheRange) {
  Rng rng(3);
  for (const int bits : {2, 4, 8}) {
    for (const bool symmetric : {false, true}) {
      for (const float clip : {1.0F, 0.8F}) {
        for (const int64_t group : {0, 16}) {
          const LowBits how{bits, symmetric, clip, group};
          std::vector<float> x;
          for (int i = 0; i < 64; ++i) x.push_back(static_cast<float>(rng.normal() + 0.3));
          const std::vector<double> expected = rounded_slowly(how, x);
          const float largest = *std::max_element(x.begin(), x.end());
          round_to_low_bits(how, x.data(), 64);
          int off = 0;  // a tie of the double may fall to the other side in float
          for (std::size_t i = 0; i < x.size(); ++i) {
            off += std::abs(x[i] - expected[i]) > 1e-5 * largest;
          }
          EXPECT_LE(off, 1) << bits << symmetric << clip << group;
        }
      }
    }
  }
}

TEST(LowBits, SearchedRangesAreNoWorse) {
  Rng rng(6);
  for (const bool symmetric : {false, true}) {
    std::vector<float> x;
    for (int i = 0; i < 256; ++i) x.push_back(static_cast<float>(rng.normal()));
    x[7] = 5;
    const auto error = [&](float clip) {
      std::vector<float> y = x;
      round_to_low_bits({4, symmetric, clip, 0}, y.data(), 256);
      double sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(y[i] - x[i], 2);
      return sum;
    };
    EXPECT_LT(error(kSearchClip), 0.9 * error(1.0F));
    EXPECT_LE(error(kSearchClip), error(0.8F) * (1 + 1e-6));
  }
}

TEST(LowBits, LeaveZerosAndWhatIsNotFinite) {
  const LowBits how{4, true};
  std::vector<float> zeros(8);
  round_to_low_bits(how, zeros.data(), 8);
  EXPECT_EQ(zeros, std::vector<float>(8));
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {1.1F, infinity, 0.3F};
  round_to_low_bits(how, x.data(), 3);
  EXPECT_EQ(x, (std::vector<float>{1.1F, infinity, 0.3F}));
  std::vector<float> y = {1.1F, 0.3F};
  round_to_low_bits({}, y.data(), 2);
  EXPECT_EQ(y, (std::vector<float>{1.1F, 0.3F}));
}

TEST(OnlineParts, SurviveJson) {
  OnlineParts parts;
  EXPECT_EQ(online_from_json(online_to_json(parts), "here").value(), parts);
  parts = {{4, true, kSearchClip, 0}, {2, false, 1.0F, 32}, {}, 9};
  EXPECT_EQ(online_from_json(online_to_json(parts), "here").value(), parts);
  parts = {{4, true, 0.9F, 0}, {2, false, 1.0F, 32}, 7, 9};
  EXPECT_EQ(online_from_json(online_to_json(parts), "here").value(), parts);
}

TEST(OnlineParts, RefuseWhatTheyDoNotKnow) {
  const char* const bad[] = {
      "[]",
      R"({"r5": 1})",
      R"({"r3": -1})",
      R"({"r4": "x"})",
      R"({"kv": 4})",
      R"({"kv": {"bits": 4}})",
      R"({"kv": {"bits": 9, "symmetric": false, "clip": 1.0, "group": 0}})",
      R"({"kv": {"bits": 4, "symmetric": 0, "clip": 1.0, "group": 0}})",
      R"({"kv": {"bits": 4, "symmetric": false, "clip": 0.0, "group": 0}})",
      R"({"kv": {"bits": 4, "symmetric": false, "clip": "find", "group": 0}})",
      R"({"kv": {"bits": 4, "symmetric": false, "clip": 1.0, "group": -1}})",
      R"({"activations": {"bits": 4, "symmetric": false, "clip": 1.0, "more": 0}})",
  };
  for (const char* text : bad) {
    const auto parts = online_from_json(Json::parse(text), "here");
    ASSERT_FALSE(parts.ok()) << text;
    EXPECT_NE(parts.status().message().find("here"), std::string::npos) << text;
  }
}

class OnlineStages : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::filesystem::path folder =
        std::filesystem::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
    model_ = Model::open(folder).value();
    weights_ = BlockWeights::load(*model_, 0).value();
    taps_ = model_->taps(0);
  }

  // Every tap of block 0 for a seeded residual.
  std::vector<MatrixF> taps_of(const OnlineParts& online, int64_t tokens) {
    ModelConfig config = model_->config();
    config.online = online;
    StageRunner runner(config);
    MatrixF residual(tokens, config.hidden);
    Rng rng(8);
    for (int64_t i = 0; i < residual.size(); ++i) {
      residual.data()[i] = static_cast<float>(rng.normal());
    }
    std::vector<MatrixF> taps;
    for (std::size_t stage = 0; stage < taps_.size(); ++stage) {
      MatrixF out(tokens, taps_[stage].width);
      const View2<const float> in = taps.empty() ? View2<const float>() : taps.back().view();
      EXPECT_TRUE(
          runner.run(weights_, 0, static_cast<int>(stage), residual.view(), in, out.view()).ok());
      taps.push_back(std::move(out));
    }
    return taps;
  }

  std::unique_ptr<Model> model_;
  BlockWeights weights_;
  std::vector<Tap> taps_;
};

TEST_P(OnlineStages, LinearsReadRoundedTokens) {
  OnlineParts online;
  online.activations = {4, true, 1.0F, 0};
  const auto plain = taps_of({}, 12);
  const auto rounded = taps_of(online, 12);
  for (int64_t t = 0; t < 12; ++t) {
    std::vector<float> row(plain[0].row(t), plain[0].row(t) + plain[0].cols());
    round_to_low_bits(online.activations, row.data(), plain[0].cols());
    EXPECT_EQ(row, std::vector<float>(rounded[0].row(t), rounded[0].row(t) + row.size()));
  }
  // At every tap: sixteen values, slot by slot.
  for (std::size_t stage = 0; stage < rounded.size(); ++stage) {
    const int64_t width = taps_[stage].width / taps_[stage].slots();
    std::vector<float> row(rounded[stage].row(3), rounded[stage].row(3) + width);
    std::sort(row.begin(), row.end());
    EXPECT_LE(std::unique(row.begin(), row.end()) - row.begin(), 16) << stage;
  }
}

TEST_P(OnlineStages, ValuesAreRoundedHeadByHead) {
  OnlineParts online;
  online.kv = {4, false, 1.0F, 0};
  // A single token sees itself alone: attention gives its values.
  const auto plain = taps_of({}, 1);
  const auto rounded = taps_of(online, 1);
  const int64_t dim = model_->config().head_dim;
  for (int64_t head = 0; head < model_->config().heads; ++head) {
    std::vector<float> values(plain[1].row(0) + head * dim, plain[1].row(0) + (head + 1) * dim);
    round_to_low_bits(online.kv, values.data(), dim);
    for (int64_t i = 0; i < dim; ++i) {
      EXPECT_FLOAT_EQ(values[static_cast<std::size_t>(i)], rounded[1](0, head * dim + i));
    }
  }
}

double distance(const MatrixF& a, const MatrixF& b) {
  double square = 0;
  double size = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    square += std::pow(static_cast<double>(a.data()[i]) - b.data()[i], 2);
    size += std::pow(static_cast<double>(a.data()[i]), 2);
  }
  return std::sqrt(square / size);
}

TEST_P(OnlineStages, FewerBitsAndLargerGroupsHurtMore) {
  const auto with = [&](const LowBits& kv) {
    OnlineParts online;
    online.kv = kv;
    return distance(taps_of({}, 20)[1], taps_of(online, 20)[1]);
  };
  EXPECT_LT(with({8, false, 1.0F, 0}), 0.02);
  EXPECT_GT(with({2, false, 1.0F, 0}), 4 * with({4, false, 1.0F, 0}));
  EXPECT_LT(with({2, false, 1.0F, 4}), with({2, false, 1.0F, 0}));
}

TEST_P(OnlineStages, RotatedKeysGiveTheSameAttention) {
  OnlineParts online;
  online.r3 = 4;
  EXPECT_LT(distance(taps_of({}, 20)[1], taps_of(online, 20)[1]), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Tiny, OnlineStages,
                         ::testing::Values("llama", "gemma2", "gpt2", "falcon", "mixtral"));

}  // namespace
}  // namespace coldpress
