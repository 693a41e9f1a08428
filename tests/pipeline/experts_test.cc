// A mixture of experts of which more than 30 % are never used: all are quantised, and each says
// what it was solved against.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "calibration/streamer.h"
#include "hessian/shrinkage.h"
#include "io/json.h"
#include "pipeline/manifest.h"
#include "tests/model/tiny_experts.h"
#include "tests/pipeline/tiny_runs.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;
using test::random_windows;

constexpr int kExperts = 8;
constexpr int kBlocks = 3;

class Experts : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path source = fs::path(COLDPRESS_SHARED_DATA) / "tiny/qwen3-moe";
    if (!fs::exists(source)) GTEST_SKIP() << source << " is absent";
    test::RawTensors tensors = test::read_raw(source / "model.safetensors");
    test::starve_experts(tensors);
    for (const char* name : {"split", "stacked"}) {
      if (name == std::string("stacked")) test::stack_experts(tensors, kBlocks, kExperts);
      fs::create_directory(work_ / name);
      fs::copy_file(source / "config.json", work_ / name / "config.json");
      test::write_raw(work_ / name / "model.safetensors", tensors);
    }
    auto split = Model::open(work_ / "split");
    auto stacked = Model::open(work_ / "stacked");
    ASSERT_TRUE(split.ok()) << split.status().message();
    ASSERT_TRUE(stacked.ok()) << stacked.status().message();
    split_ = std::move(split).value();
    stacked_ = std::move(stacked).value();
  }

  struct Pressed {
    RunReport report;
    std::map<std::string, MatrixF> values;
    Json manifest;
  };
  static Pressed press(const Model& model, const std::string& method, int threads) {
    Recipe recipe;
    recipe.method = method;
    recipe.grid.bits = 3;
    recipe.grid.group = 32;
    if (method == "rtn") recipe.grid.clip = Clip::kNone;
    recipe.samples = 12;
    recipe.seqlen = 64;
    ThreadPool pool(threads);
    const Plan plan = make_plan(model, recipe, threads).value();
    const CalibrationWindows windows = random_windows(recipe.samples, recipe.seqlen);
    Pressed p;
    DriverHooks hooks;
    hooks.put = [&](const std::string& name, const PressedTensor& pressed) {
      const View2<const float> v = pressed.values;
      MatrixF copy(v.rows, v.cols);
      for (int64_t i = 0; i < v.rows; ++i) std::copy_n(v.row(i), v.cols, copy.row(i));
      EXPECT_TRUE(p.values.emplace(name, std::move(copy)).second) << name;
      return Status();
    };
    p.report = run_plan(model, plan, windows, hooks, pool).value();
    p.manifest = make_manifest(model, plan, windows, p.report, {"test", threads, 0, 0});
    return p;
  }

  TempFolder work_;
  std::unique_ptr<Model> split_;
  std::unique_ptr<Model> stacked_;
};

TEST_F(Experts, AllAreQuantisedAndSayAgainstWhichGram) {
  const Pressed p = press(*split_, "gptq", 2);
  ASSERT_EQ(p.report.tensors.size(), static_cast<std::size_t>(kBlocks * (4 + 3 * kExperts)));
  for (const TensorReport& t : p.report.tensors) {
    const MatrixF& values = p.values.at(t.name);
    for (int64_t i = 0; i < values.size(); ++i) ASSERT_TRUE(std::isfinite(values.data()[i]));
    EXPECT_LE(t.error, t.rtn_error) << t.name;
    if (t.expert < 0) {
      EXPECT_TRUE(t.policy.empty()) << t.name;
      continue;
    }
    const bool dead = test::kNeverRouted.contains(t.expert);
    EXPECT_EQ(t.calibration_tokens == 0, dead) << t.name;
    EXPECT_EQ(t.policy == "pooled: no token was routed to this expert", dead) << t.name;
    EXPECT_EQ(t.policy == "own", t.calibration_tokens >= t.cols) << t.name;
  }
  int64_t listed = 0;
  for (const Json& t : p.manifest["tensors"]) {
    if (!t.contains("expert")) continue;
    ++listed;
    EXPECT_TRUE(t.contains("gram") && t.contains("calibration_tokens"));
  }
  EXPECT_EQ(listed, kBlocks * 3 * kExperts);
  const Json& sums = p.manifest["result"]["experts"];
  EXPECT_EQ(sums["never_routed"], kBlocks * 3);
  EXPECT_EQ(sums["own_gram"].get<int>() + sums["shrunk_to_pooled"].get<int>(),
            kBlocks * (kExperts - 3));
}

// Rounding on unclipped ranges depends on the weights alone, so that bytes can be compared: methods
// that multiply more rows at once round their sums differently.
TEST_F(Experts, BothLayoutsGiveTheSameModel) {
  const Pressed split = press(*split_, "rtn", 1);
  const Pressed stacked = press(*stacked_, "rtn", 3);
  EXPECT_EQ(stacked.values.size(), static_cast<std::size_t>(kBlocks * (4 + 2)));
  const auto expect_rows = [](const MatrixF& all, int64_t row, const MatrixF& one) {
    EXPECT_EQ(0, std::memcmp(all.row(row), one.data(),
                             static_cast<std::size_t>(one.size()) * sizeof(float)));
  };
  for (int b = 0; b < kBlocks; ++b) {
    const std::string prefix = "model.layers." + std::to_string(b) + ".mlp.experts.";
    for (int e = 0; e < kExperts; ++e) {
      const std::string expert = prefix + std::to_string(e) + ".";
      const MatrixF& gate = split.values.at(expert + "gate_proj.weight");
      const MatrixF& down = split.values.at(expert + "down_proj.weight");
      const MatrixF& gate_up = stacked.values.at(prefix + "gate_up_proj");
      expect_rows(gate_up, 2 * e * gate.rows(), gate);
      expect_rows(gate_up, (2 * e + 1) * gate.rows(), split.values.at(expert + "up_proj.weight"));
      expect_rows(stacked.values.at(prefix + "down_proj"), e * down.rows(), down);
    }
  }
  std::map<std::pair<int, int>, int64_t> tokens;
  for (const TensorReport& t : split.report.tensors) {
    if (t.tap == "ffn_mid") tokens[{t.block, t.expert}] = t.calibration_tokens;
  }
  for (const TensorReport& t : stacked.report.tensors) {
    if (t.tap != "ffn_mid") continue;
    EXPECT_EQ((tokens[{t.block, t.expert}]), t.calibration_tokens);
  }
  for (const Json& t : stacked.manifest["tensors"]) {
    if (!t["name"].get<std::string>().ends_with("experts.down_proj")) continue;
    ASSERT_EQ(t["experts"].size(), static_cast<std::size_t>(kExperts));
    EXPECT_TRUE(t["experts"][1].contains("gram"));
  }
}

// The Gram of each expert against a naive sum over the tokens that the router sends to it.
TEST_F(Experts, AGramHoldsItsOwnTokensOnly) {
  const CalibrationWindows windows = random_windows(4, 64);
  ThreadPool pool(2);
  CalibrationStreamer streamer(*split_, windows, pool, false, {.taps = TapType::kSingle});
  const HeadWeights head = HeadWeights::load(*split_).value();
  const BlockWeights weights = BlockWeights::load(*split_, 0).value();
  const std::vector<Tap> taps = split_->taps(0);
  ASSERT_TRUE(streamer.embed(head).ok());
  StageRunner runner(split_->config());
  std::vector<MatrixF> residuals;
  std::vector<MatrixF> inputs;
  for (int64_t w = 0; w < windows.count(); ++w) {
    residuals.emplace_back(windows.length, split_->config().hidden);
    ASSERT_TRUE(runner.embed(head, windows.window(w), residuals.back().view()).ok());
    inputs.emplace_back();
  }
  std::vector<Routes> routes(inputs.size());
  for (int stage = 0; stage <= 3; ++stage) {
    const Tap& tap = taps[static_cast<std::size_t>(stage)];
    const auto pooled = streamer.run_stage(weights, nullptr, 0, stage, taps);
    ASSERT_TRUE(pooled.ok());
    for (std::size_t w = 0; w < inputs.size(); ++w) {
      MatrixF out(windows.length, tap.width);
      ASSERT_TRUE(
          runner.run(weights, 0, stage, residuals[w].view(), inputs[w].view(), out.view()).ok());
      if (stage == 2) {
        ASSERT_TRUE(runner.route(weights, 0, out.view(), routes[w]).ok());
      }
      inputs[w] = std::move(out);
    }
    if (!tap.by_expert) continue;
    const std::vector<int> owners(kExperts, 0);
    const std::vector<Gram> grams = streamer.expert_grams(tap, 0, owners).value();
    const int64_t n = grams.front().n();
    int64_t tokens = 0;
    for (int e = 0; e < kExperts; ++e) {
      MatrixD sum(n, n);
      int64_t count = 0;
      for (std::size_t w = 0; w < inputs.size(); ++w) {
        for (int64_t i = 0; i < windows.length * routes[w].used; ++i) {
          if (routes[w].experts[static_cast<std::size_t>(i)] != e) continue;
          const float* x = inputs[w].row(i / 2) + (tap.slots() == 2 ? i % 2 * n : 0);
          for (int64_t a = 0; a < n; ++a) {
            for (int64_t b = 0; b <= a; ++b) sum(a, b) += static_cast<double>(x[a]) * x[b];
          }
          ++count;
        }
      }
      const Gram& gram = grams[static_cast<std::size_t>(e)];
      ASSERT_EQ(gram.tokens(), count);
      tokens += count;
      for (int64_t a = 0; a < n; ++a) {
        for (int64_t b = 0; b <= a; ++b) {
          ASSERT_NEAR(gram.sum()(a, b), sum(a, b), 1e-4 * std::sqrt(sum(a, a) * sum(b, b)) + 1e-12);
        }
      }
    }
    EXPECT_EQ(tokens, 2 * windows.count() * windows.length);
    EXPECT_EQ(pooled->gram.tokens(), tap.slots() * windows.count() * windows.length);
  }
}

TEST(Shrinkage, GoesFromThePooledGramToTheOwn) {
  const MatrixF one = [] {
    MatrixF m(1, 1);
    m(0, 0) = 3.0F;
    return m;
  }();
  Gram own(1);
  Gram pooled(1);
  pooled.add(one.view(), 1);  // 3 per token
  const auto never = expert_hessian(own, pooled, 4);
  EXPECT_EQ(never.h(0, 0), 3.0F);
  EXPECT_EQ(never.policy, "pooled: no token was routed to this expert");
  own.add(one.view(), 3);  // 1 per token
  const auto some = expert_hessian(own, pooled, 4);
  EXPECT_FLOAT_EQ(some.h(0, 0), 0.75F * 1.0F + 0.25F * 3.0F);
  EXPECT_EQ(some.policy, "pooled: 3 of 4 tokens, so 0.250 of the Gram is the block's");
  own.add(one.view(), 1);
  const auto enough = expert_hessian(own, pooled, 4);
  EXPECT_FLOAT_EQ(enough.h(0, 0), 1.5F);
  EXPECT_EQ(enough.policy, "own");
}

}  // namespace
}  // namespace coldpress
