// Scales that norms absorb, and rotations, change nothing that a block computes.
#include "model/sites.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "model/model.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

class Sites : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const fs::path folder = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
    if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
    model_ = Model::open(folder).value();
  }

  // The residual after one block, from a seeded one.
  MatrixF run(const BlockWeights& weights) const {
    constexpr int64_t kTokens = 24;
    MatrixF residual(kTokens, model_->config().hidden);
    Rng rng(3);
    for (int64_t i = 0; i < residual.size(); ++i) {
      residual.data()[i] = static_cast<float>(rng.normal());
    }
    StageRunner runner(model_->config());
    const std::vector<Tap> taps = model_->taps(1);
    MatrixF in;
    for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
      MatrixF out(stage < taps.size() ? kTokens : 0, stage < taps.size() ? taps[stage].width : 0);
      EXPECT_TRUE(runner
                      .run(weights, 1, static_cast<int>(stage), residual.view(), in.view(),
                           stage < taps.size() ? out.view() : View2<float>())
                      .ok());
      in = std::move(out);
    }
    return residual;
  }

  std::unique_ptr<Model> model_;
};

void expect_same(const MatrixF& a, const MatrixF& b) {
  double largest = 0;
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a.data()[i])));
    worst = std::max(worst, std::abs(static_cast<double>(a.data()[i]) - b.data()[i]));
  }
  EXPECT_LE(worst, 1e-4 * largest);
}

TEST_P(Sites, NormsAbsorbAnyScale) {
  BlockWeights weights = BlockWeights::load(*model_, 1).value();
  const MatrixF before = run(weights);
  Rng rng(9);
  for (const ScaleSite& site : scale_sites(model_->architecture())) {
    ASSERT_FALSE(site.readers.empty()) << site.norm;
    std::vector<float> scale;
    for (int64_t j = 0; j < model_->config().hidden; ++j) {
      scale.push_back(static_cast<float>(std::exp(rng.normal())));
    }
    const auto each = [&](const std::string& role, bool multiply) {
      if (weights.find(role) == nullptr) return;
      const View2<float> w = weights.linear(role);
      for (int64_t i = 0; i < w.rows; ++i) {
        for (int64_t j = 0; j < w.cols; ++j) {
          const float s = scale[static_cast<std::size_t>(j)];
          w(i, j) = multiply ? w(i, j) * s : w(i, j) / s;
        }
      }
    };
    each(std::string(site.norm), false);
    each(std::string(site.norm) + "_bias", false);
    for (const std::string_view reader : site.readers) each(std::string(reader), true);
  }
  expect_same(before, run(weights));
}

INSTANTIATE_TEST_SUITE_P(Tiny, Sites,
                         ::testing::Values("bloom", "falcon", "gemma2", "gpt-neox", "gpt2", "llama",
                                           "mixtral", "olmo2", "phi3", "qwen3-moe"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ScaleSites, FollowFromTheDeclaration) {
  const auto readers = [](const char* arch, std::size_t site) {
    std::string text;
    const std::vector<ScaleSite> sites = scale_sites(*find_architecture(arch));
    for (const std::string_view r : sites.at(site).readers) {
      text += std::string(r) + " ";
    }
    return text;
  };
  EXPECT_EQ(readers("llama", 0), "attn_q attn_k attn_v ");
  EXPECT_EQ(readers("phi3", 0), "attn_qkv ");
  EXPECT_EQ(readers("phi3", 1), "ffn_gate_up ");
  EXPECT_EQ(readers("mixtral", 1), "ffn_router ffn_gate_exps ffn_up_exps ");
  EXPECT_EQ(readers("falcon", 0), "attn_qkv ffn_up ");  // one norm for both
  EXPECT_EQ(scale_sites(*find_architecture("falcon")).size(), 1U);
  EXPECT_EQ(scale_sites(*find_architecture("falcon-40b")).size(), 2U);
  EXPECT_TRUE(scale_sites(*find_architecture("olmo2")).empty());
}

TEST(RotationSites, TheResidualRotatesWhereOnlyRmsNormsReadIt) {
  for (const Architecture* arch : model_table()) {
    const auto sites = rotation_sites(*arch);
    ASSERT_EQ(sites.size(), 2U);
    for (const RotationSite& site : sites) EXPECT_EQ(site.is_possible, site.why_not.empty());
    EXPECT_TRUE(sites[1].is_possible);
  }
  for (const char* name : {"llama", "qwen3", "phi3", "granite", "mixtral", "smollm3"}) {
    EXPECT_TRUE(rotation_sites(*find_architecture(name)).front().is_possible) << name;
  }
  for (const char* name : {"gemma2", "olmo2", "gpt2", "opt", "falcon"}) {
    EXPECT_FALSE(rotation_sites(*find_architecture(name)).front().is_possible) << name;
  }
}

}  // namespace
}  // namespace coldpress
