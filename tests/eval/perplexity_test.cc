#include "eval/perplexity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "eval/nll.h"
#include "tests/model/forward.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A tiny checkpoint with the logits that transformers computes for it.
struct Golden {
  EvalWindows windows;       // every token but a window's first is scored
  std::vector<double> nll;   // double-precision oracle over the golden logits
  std::vector<double> ours;  // negative_log_likelihood over the golden logits
  double logit_deviation = 0;
};

Golden golden_of(const fs::path& path) {
  Golden g;
  const GoldenFile file = read_golden(path);
  EXPECT_FALSE(file.windows.empty());
  if (file.windows.empty()) return g;
  const auto length = static_cast<int64_t>(file.windows[0].size());
  const auto tokens = static_cast<int64_t>(file.windows.size()) * length;
  const int64_t vocab = static_cast<int64_t>(file.logits.size()) / tokens;
  g.windows.context = length;
  g.windows.scored = length - 1;
  double sum = 0, squares = 0;
  for (const float v : file.logits) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(file.logits.size());
  g.logit_deviation = std::sqrt(squares / n - (sum / n) * (sum / n));
  const float* row_start = file.logits.data();
  for (const std::vector<int32_t>& window : file.windows) {
    for (std::size_t t = 0; t < window.size(); ++t, row_start += vocab) {
      const bool last = t + 1 == window.size();
      const int32_t target = last ? -1 : window[t + 1];
      g.windows.inputs.push_back(window[t]);
      g.windows.targets.push_back(target);
      if (last) continue;
      const std::span<const float> row(row_start, static_cast<std::size_t>(vocab));
      double total = 0;
      for (const float v : row) total += std::exp(static_cast<double>(v));
      g.nll.push_back(std::log(total) - static_cast<double>(row[static_cast<std::size_t>(target)]));
      g.ours.push_back(negative_log_likelihood(row, target));
    }
  }
  return g;
}

// The checkpoint with the configuration that its golden logits were computed with.
class GoldenModel final : public Model {
 public:
  explicit GoldenModel(std::unique_ptr<Model> model)
      : model_(std::move(model)),
        config_(golden_config(*model_,
                              *dtype_from_name(model_->find("model.embed_tokens.weight")->type))) {}
  const Architecture& architecture() const override { return model_->architecture(); }
  const ModelConfig& config() const override { return config_; }
  const fs::path& path() const override { return model_->path(); }
  bool is_gguf() const override { return model_->is_gguf(); }
  const std::vector<SetAside>& set_aside() const override { return model_->set_aside(); }
  bool source_is_quantised() const override { return model_->source_is_quantised(); }
  const std::vector<SourceTensor>& tensors() const override { return model_->tensors(); }
  const SourceTensor* find(const std::string& name) const override { return model_->find(name); }
  std::vector<Tap> taps(int block) const override { return model_->taps(block); }
  std::optional<std::string> role_tensor(std::string_view role, int block) const override {
    return model_->role_tensor(role, block);
  }
  using Model::load;
  Result<MatrixF> load(const std::string& name, const Memory& memory) const override {
    return model_->load(name, memory);
  }

 private:
  std::unique_ptr<Model> model_;
  ModelConfig config_;
};

class Perplexity : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path folder() const { return fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam(); }
};

TEST_P(Perplexity, MatchesTheGoldenLogits) {
  if (!fs::exists(folder())) GTEST_SKIP() << folder() << " is absent";
  const Golden golden = golden_of(folder() / "golden.safetensors");
  ASSERT_FALSE(golden.nll.empty());
  auto model = Model::open(folder());
  ASSERT_TRUE(model.ok()) << model.status().message();
  const GoldenModel as_golden(std::move(model).value());
  ThreadPool pool(2);
  const auto nll = score_windows(as_golden, golden.windows, {}, pool);
  ASSERT_TRUE(nll.ok()) << nll.status().message();
  ASSERT_EQ(nll->size(), golden.nll.size());
  for (std::size_t i = 0; i < nll->size(); ++i) {
    EXPECT_NEAR(golden.ours[i], golden.nll[i], 20 * 0x1p-24);
    // The logits agree to 1e-3 of their deviation; an NLL is a difference of two smooth maxima.
    EXPECT_NEAR((*nll)[i], golden.nll[i], 2e-3 * golden.logit_deviation) << "token " << i;
  }
}

TEST_P(Perplexity, IsTheSameForAnyThreadCount) {
  if (!fs::exists(folder())) GTEST_SKIP() << folder() << " is absent";
  const Golden golden = golden_of(folder() / "golden.safetensors");
  const auto model = Model::open(folder());
  ASSERT_TRUE(model.ok()) << model.status().message();
  ThreadPool one(1), three(3);
  const auto a = score_windows(**model, golden.windows, {}, one);
  const auto b = score_windows(**model, golden.windows, {}, three);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(*a, *b);  // bit for bit
}

INSTANTIATE_TEST_SUITE_P(Tiny, Perplexity, ::testing::Values("llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& param) { return std::string(param.param); });

TEST(ScoreWindows, ReportsProgressToTheEnd) {
  const fs::path folder = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / "llama";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
  const Golden golden = golden_of(folder / "golden.safetensors");
  const auto model = Model::open(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  ThreadPool pool(1);
  int64_t last = 0, end = -1;
  const auto nll = score_windows(
      **model, golden.windows,
      [&](int64_t done, int64_t total) {
        EXPECT_GT(done, last);
        last = done;
        end = total;
      },
      pool);
  ASSERT_TRUE(nll.ok());
  EXPECT_EQ(last, end);
}

TEST(ScoreWindows, TokensOfAnotherVocabularyAreAnError) {
  const fs::path folder = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / "llama";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
  Golden golden = golden_of(folder / "golden.safetensors");
  golden.windows.inputs[5] = 512;
  const auto model = Model::open(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  ThreadPool pool(1);
  const auto nll = score_windows(**model, golden.windows, {}, pool);
  ASSERT_FALSE(nll.ok());
  EXPECT_THAT(nll.status().message(), HasSubstr("token 512"));
}

}  // namespace
}  // namespace coldpress
