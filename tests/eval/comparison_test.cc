#include "eval/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "base/rng.h"
#include "tests/model/forward.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

// A checkpoint whose matrices are a little off, as a quantised one's are.
class NoisyModel final : public Model {
 public:
  explicit NoisyModel(const Model& model, double noise) : model_(model), noise_(noise) {}
  const Architecture& architecture() const override { return model_.architecture(); }
  const ModelConfig& config() const override { return model_.config(); }
  const fs::path& path() const override { return model_.path(); }
  bool is_gguf() const override { return model_.is_gguf(); }
  const std::vector<SetAside>& set_aside() const override { return model_.set_aside(); }
  bool source_is_quantised() const override { return true; }
  const std::vector<SourceTensor>& tensors() const override { return model_.tensors(); }
  const SourceTensor* find(const std::string& name) const override { return model_.find(name); }
  std::vector<Tap> taps(int block) const override { return model_.taps(block); }
  std::optional<std::string> role_tensor(std::string_view role, int block) const override {
    return model_.role_tensor(role, block);
  }
  using Model::load;
  Result<MatrixF> load(const std::string& name, const Memory& memory) const override {
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF values, model_.load(name, memory));
    Rng rng(17, static_cast<uint64_t>(values.size()));
    for (int64_t i = 0; values.rows() > 1 && i < values.size(); ++i) {
      values.data()[i] *= static_cast<float>(1 + noise_ * rng.normal());
    }
    return values;
  }

 private:
  const Model& model_;
  double noise_;
};

fs::path tiny(const char* family) { return fs::path(COLDPRESS_SHARED_DATA) / "tiny" / family; }

EvalWindows golden_windows(const fs::path& folder) {
  EvalWindows windows;
  for (const std::vector<int32_t>& ids : read_golden(folder / "golden.safetensors").windows) {
    windows.context = static_cast<int64_t>(ids.size());
    for (std::size_t t = 0; t < ids.size(); ++t) {
      windows.inputs.push_back(ids[t]);
      windows.targets.push_back(t + 1 < ids.size() ? ids[t + 1] : -1);
    }
  }
  windows.first_scored = windows.context / 2;
  windows.scored = windows.context - 1 - windows.first_scored;
  return windows;
}

std::vector<double> log_softmax(const float* row, int64_t n) {
  const double max = *std::max_element(row, row + n);
  double sum = 0;
  for (int64_t v = 0; v < n; ++v) sum += std::exp(row[v] - max);
  std::vector<double> out;
  for (int64_t v = 0; v < n; ++v) out.push_back(row[v] - max - std::log(sum));
  return out;
}

class Comparison : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!fs::exists(tiny(GetParam()))) GTEST_SKIP() << tiny(GetParam()) << " is absent";
    auto opened = Model::open(tiny(GetParam()));
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    reference_ = std::move(opened).value();
    windows_ = golden_windows(tiny(GetParam()));
    ASSERT_GT(windows_.scored, 0);
  }
  std::unique_ptr<Model> reference_;
  EvalWindows windows_;
};

// The oracle: every window alone through a runner of its own, softmax and sums in fp64.
TEST_P(Comparison, EqualsANaiveOracle) {
  const NoisyModel model(*reference_, 0.05);
  ThreadPool pool(2);
  const auto ours = compare_windows(model, *reference_, windows_, {}, pool);
  ASSERT_TRUE(ours.ok()) << ours.status().message();
  StageRunner runner(reference_->config());
  double total = 0;
  std::size_t at = 0;
  for (int64_t w = 0; w < windows_.count(); ++w) {
    const std::span<const int32_t> ids(windows_.inputs.data() + w * windows_.context,
                                       static_cast<std::size_t>(windows_.context));
    const auto p_logits = window_logits(*reference_, runner, ids);
    const auto q_logits = window_logits(model, runner, ids);
    ASSERT_TRUE(p_logits.ok() && q_logits.ok());
    for (int64_t i = 0; i < windows_.scored; ++i, ++at) {
      const int64_t t = windows_.first_scored + i;
      const std::vector<double> p = log_softmax(p_logits->row(t), p_logits->cols());
      const std::vector<double> q = log_softmax(q_logits->row(t), q_logits->cols());
      double forward = 0;
      double reverse = 0;
      for (std::size_t v = 0; v < p.size(); ++v) {
        forward += std::exp(p[v]) * (p[v] - q[v]);
        reverse += std::exp(q[v]) * (q[v] - p[v]);
      }
      EXPECT_NEAR(ours->forward[at], forward, 1e-5);
      EXPECT_NEAR(ours->reverse[at], reverse, 1e-5);
      const auto top = [](const std::vector<double>& v) {
        return std::max_element(v.begin(), v.end()) - v.begin();
      };
      EXPECT_EQ(ours->same_top[at], top(p) == top(q) ? 1 : 0);
      const auto target = static_cast<std::size_t>(ids[static_cast<std::size_t>(t + 1)]);
      EXPECT_NEAR(ours->nll[at], -q[target], 1e-5);
      EXPECT_NEAR(ours->reference_nll[at], -p[target], 1e-5);
      total += forward;
    }
  }
  EXPECT_EQ(ours->forward.size(), at);
  EXPECT_GT(total / static_cast<double>(at), 1e-4);  // there was something to measure
}

TEST_P(Comparison, IsTheSameForAnyThreadCount) {
  const NoisyModel model(*reference_, 0.05);
  ThreadPool one(1), three(3);
  const auto a = compare_windows(model, *reference_, windows_, {}, one);
  const auto b = compare_windows(model, *reference_, windows_, {}, three);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->forward, b->forward);  // bit for bit
  EXPECT_EQ(a->reverse, b->reverse);
  EXPECT_EQ(a->nll, b->nll);
  EXPECT_EQ(a->same_top, b->same_top);
}

TEST_P(Comparison, OfAModelWithItselfIsZeroAndItsPerplexityIsTheUsual) {
  ThreadPool pool(2);
  int64_t last = 0;
  int64_t end = -1;
  const auto ours = compare_windows(
      *reference_, *reference_, windows_,
      [&](int64_t done, int64_t total) {
        EXPECT_EQ(done, last + 1);
        last = done;
        end = total;
      },
      pool);
  ASSERT_TRUE(ours.ok());
  EXPECT_EQ(last, end);
  EXPECT_EQ(distribution_of(ours->forward).max, 0);
  EXPECT_EQ(distribution_of(ours->reverse).max, 0);
  EXPECT_EQ(mean_of(ours->same_top).mean, 1);
  const auto nll = score_windows(*reference_, windows_, {}, pool);
  ASSERT_TRUE(nll.ok());
  EXPECT_EQ(ours->nll, *nll);
  EXPECT_EQ(ours->reference_nll, *nll);
}

INSTANTIATE_TEST_SUITE_P(Tiny, Comparison, ::testing::Values("llama", "qwen3-moe"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace coldpress
