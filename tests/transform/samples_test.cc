// What rotations are learned from: the value heads' samples against naive double-precision code.
#include "transform/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace coldpress {
namespace {

constexpr int64_t kTokens = 8;  // all of which are taken

class ValueSamples : public ::testing::TestWithParam<const char*> {};

TEST_P(ValueSamples, AreWhatAttentionMixes) {
  const auto folder = std::filesystem::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
  const std::unique_ptr<Model> model = Model::open(folder).value();
  const ModelConfig& config = model->config();
  CalibrationWindows windows;
  windows.length = kTokens;
  windows.tokens = {3, 1, 4, 1, 5, 9, 2, 6};
  ThreadPool pool(2);
  const Samples samples = sample_model(*model, windows, pool).value();
  ASSERT_EQ(static_cast<int64_t>(samples.values.size()), config.blocks);

  MatrixF residual(kTokens, config.hidden);
  MatrixF attn_in(kTokens, config.hidden);
  StageRunner runner(config);
  ASSERT_TRUE(
      runner.embed(HeadWeights::load(*model).value(), windows.window(0), residual.view()).ok());
  const BlockWeights weights = BlockWeights::load(*model, 0).value();
  ASSERT_TRUE(runner.run(weights, 0, 0, residual.view(), {}, attn_in.view()).ok());
  const MatrixF* fused = weights.find("attn_qkv");
  const MatrixF& w = fused != nullptr ? *fused : *weights.find("attn_v");
  const MatrixF* bias = weights.find(fused != nullptr ? "attn_qkv_bias" : "attn_v_bias");
  for (int64_t head = 0; head < config.kv_heads; ++head) {
    const MatrixF& got = samples.values[0][static_cast<std::size_t>(head)];
    ASSERT_GT(got.rows(), kTokens);
    int64_t first = head * config.head_dim;
    if (fused != nullptr) {  // by group: q q ... k v; else all q, all k, all v
      const int64_t group = config.heads / config.kv_heads;
      const int64_t before = config.qkv_by_group ? head * (group + 2) + group + 1
                                                 : config.heads + config.kv_heads + head;
      first = before * config.head_dim;
    }
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t i = 0; i < config.head_dim; ++i) {
        double v = bias == nullptr ? 0 : (*bias)(0, first + i);
        for (int64_t j = 0; j < config.hidden; ++j) {
          v += static_cast<double>(w(first + i, j)) * attn_in(t, j);
        }
        EXPECT_NEAR(got(got.rows() - kTokens + t, i), v, 1e-4) << head << " " << t << " " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ValueSamples,
                         ::testing::Values("llama", "qwen2", "phi3", "gpt-neox", "falcon", "bloom"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace coldpress
