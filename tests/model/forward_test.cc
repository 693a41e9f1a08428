// The forward pass against golden logits of real architectures, from safetensors (from GGUF:
// tests/export/family_test.cc); and that its bytes depend on nothing but the window.
#include "tests/model/forward.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "model/model.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

fs::path tiny(const std::string& family) {
  return fs::path(COLDPRESS_SHARED_DATA) / "tiny" / family;
}

DType stored_type(const Model& model) {
  return *dtype_from_name(model.find(*model.role_tensor("token_embd", 0))->type);
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = tiny(GetParam());
    if (!fs::exists(folder_)) GTEST_SKIP() << folder_ << " is absent";
    auto model = Model::open(folder_);
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(model).value();
  }
  fs::path folder_;
  std::unique_ptr<Model> model_;
};

TEST_P(Golden, LogitsFromSafetensors) {
  expect_golden(*model_, stored_type(*model_), folder_ / "golden.safetensors");
}

INSTANTIATE_TEST_SUITE_P(Tiny, Golden,
                         ::testing::Values("bloom", "falcon", "gemma2", "gemma3", "gpt-neox",
                                           "gpt2", "granite", "llama", "llama3-rope",
                                           "mistral-window", "mixtral", "qwen3-moe", "olmo2", "opt",
                                           "phi3", "qwen2", "qwen3", "smollm3", "starcoder2"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// The language models inside checkpoints that also take images, under the names that transformers
// and older checkpoints give them; and forms of families that the other golden files lack.
class GoldenHere : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenHere, LogitsFromSafetensors) {
  const fs::path folder = fs::path(COLDPRESS_SOURCE_DIR) / "tests/golden" / GetParam();
  const auto model = Model::open(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  // transformers kept what follows from the configuration in fp32.
  expect_golden(**model, DType::kF32, folder / "golden.safetensors");
}

INSTANTIATE_TEST_SUITE_P(Tiny, GoldenHere,
                         ::testing::Values("falcon-11b", "falcon-7b", "gemma3-vision", "llava",
                                           "mistral3", "qwen2.5-vl", "qwen3-moe-dense-blocks",
                                           "qwen3-vl", "smolvlm"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

// Longer than one chunk of queries, and of no round length.
constexpr int64_t kLong = 300;

std::vector<int32_t> random_ids(uint64_t seed, int64_t count, int64_t vocab) {
  Rng rng(seed);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
  }
  return ids;
}

bool same_bytes(const MatrixF& a, const MatrixF& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

class Windows : public Golden {};

// Causality: what a token sees does not change when the window goes on, across chunk borders.
TEST_P(Windows, PrefixGivesTheSameLogits) {
  StageRunner runner(model_->config());
  const std::vector<int32_t> ids = random_ids(1, kLong, model_->config().vocab);
  const auto whole = window_logits(*model_, runner, ids);
  ASSERT_TRUE(whole.ok());
  for (const int64_t length : {int64_t{1}, int64_t{31}, int64_t{128}, int64_t{130}}) {
    const auto part =
        window_logits(*model_, runner, std::span(ids).first(static_cast<std::size_t>(length)));
    ASSERT_TRUE(part.ok());
    double worst = 0;
    double size = 0;
    for (int64_t i = 0; i < part->size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(part->data()[i]) - whole->data()[i]));
      size = std::max(size, std::abs(static_cast<double>(whole->data()[i])));
    }
    // Other kernels for other shapes: the rounding of three blocks in fp32, nothing more.
    EXPECT_LE(worst, 1e-4 * size) << length;
  }
}

TEST_P(Windows, BytesDependOnNeitherRunnerNorThread) {
  constexpr int kThreads = 2;
  constexpr int kWindows = 4;
  std::vector<MatrixF> expected;
  for (int w = 0; w < kWindows; ++w) {
    StageRunner fresh(model_->config());
    auto logits =
        window_logits(*model_, fresh, random_ids(w, kLong - 40 * w, model_->config().vocab));
    ASSERT_TRUE(logits.ok());
    expected.push_back(std::move(logits).value());
  }
  std::array<std::vector<MatrixF>, kThreads> got;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      StageRunner runner(model_->config());  // one for all windows, in another order per thread
      for (int i = 0; i < kWindows; ++i) {
        const int w = t == 0 ? i : kWindows - 1 - i;
        auto logits =
            window_logits(*model_, runner, random_ids(w, kLong - 40 * w, model_->config().vocab));
        got[t].push_back(logits.ok() ? std::move(logits).value() : MatrixF());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kWindows; ++i) {
      EXPECT_TRUE(same_bytes(got[t][i], expected[t == 0 ? i : kWindows - 1 - i])) << t << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, Windows,
                         ::testing::Values("llama", "gemma3", "bloom", "falcon", "gpt-neox"));

TEST(StageRunner, RefusesTokensOutsideTheVocabulary) {
  const fs::path folder = tiny("llama");
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
  const auto model = Model::open(folder);
  ASSERT_TRUE(model.ok());
  const auto head = HeadWeights::load(**model);
  ASSERT_TRUE(head.ok());
  StageRunner runner((*model)->config());
  MatrixF residual(1, (*model)->config().hidden);
  for (const int32_t id : {-1, 512}) {
    EXPECT_FALSE(runner.embed(*head, std::span(&id, 1), residual.view()).ok());
  }
}

}  // namespace
}  // namespace coldpress
