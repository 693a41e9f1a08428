// Transforms leave the logits of every family they apply to, and refuse the others with a reason.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/model/forward.h"
#include "transform/table.h"
#include "transform/transformed_model.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

const char* const kFamilies[] = {
    "bloom", "falcon",         "gemma2",  "gemma3",     "gpt-neox", "gpt2", "granite",
    "llama", "llama3-rope",    "mixtral", "olmo2",      "opt",      "phi3", "qwen2",
    "qwen3", "mistral-window", "smollm3", "starcoder2", "qwen3-moe"};

TransformOptions options_of(const std::string& steps) {
  TransformOptions options;
  options.steps = parse_transform_steps(steps).value();
  options.seed = 5;
  return options;
}

class Invariance : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const fs::path folder = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
    if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
    model_ = Model::open(folder).value();
    Rng rng(17);
    for (int i = 0; i < 40; ++i) {
      ids_.push_back(
          static_cast<int32_t>(rng.below(static_cast<uint64_t>(model_->config().vocab))));
    }
  }

  MatrixF logits(const Model& model) const {
    StageRunner runner(model.config());
    return window_logits(model, runner, ids_).value();
  }

  // The largest difference by the largest logit; negative where the transforms are refused.
  double difference(const std::string& steps) const {
    const TransformOptions options = options_of(steps);
    const auto transformed = TransformedModel::create(*model_, options, DType::kF32);
    if (!transformed.ok()) {
      EXPECT_EQ(transformed.status().code(), StatusCode::kUnsupported);
      EXPECT_NE(transformed.status().message(), "");
      return -1;
    }
    return distance(logits(*model_), logits(**transformed));
  }

  CalibrationWindows one_window() const {
    CalibrationWindows windows;
    windows.length = static_cast<int64_t>(ids_.size());
    windows.tokens = ids_;
    return windows;
  }

  static double distance(const MatrixF& before, const MatrixF& after) {
    double largest = 0;
    double worst = 0;
    for (int64_t i = 0; i < before.size(); ++i) {
      const double b = before.data()[i];
      largest = std::max(largest, std::abs(b));
      worst = std::max(worst, std::abs(b - after.data()[i]));
    }
    return worst / largest;
  }

  std::unique_ptr<Model> model_;
  std::vector<int32_t> ids_;
};

TEST_P(Invariance, EachTransformLeavesTheLogits) {
  for (const TransformKind* kind : transform_table()) {
    if (kind->edit == nullptr) continue;
    const double d = difference(std::string(kind->name));
    EXPECT_LE(d, 1e-4) << kind->name;
    const bool may_refuse = kind->name != "r2" && kind->name != "r3" && kind->name != "r4";
    EXPECT_TRUE(may_refuse || d >= 0) << kind->name;
  }
}

TEST_P(Invariance, SoDoAllAtOnce) {
  const bool rotates = difference("r1") >= 0;
  EXPECT_LE(difference(rotates ? "norms,r1,r2,r3,r4" : "r2,r3,r4"), 1e-4);
}

TEST_P(Invariance, SoDoLearnedRotations) {
  const CalibrationWindows windows = one_window();
  ThreadPool pool(2);
  for (const auto& [step, role] :
       {std::pair("r1:learned", "token_embd"), std::pair("r2:learned", "attn_o")}) {
    const auto transformed = TransformedModel::create(*model_, options_of(step), DType::kF32);
    if (!transformed.ok()) continue;  // refused, as the random one
    const std::string tensor = *model_->role_tensor(role, 1);
    const MatrixF random = (*transformed)->load(tensor).value();
    ASSERT_TRUE((*transformed)->learn(windows, pool).ok()) << step;
    const MatrixF learned = (*transformed)->load(tensor).value();
    EXPECT_NE(0, std::memcmp(random.data(), learned.data(),
                             static_cast<std::size_t>(random.size()) * sizeof(float)))
        << step;
    EXPECT_LE(distance(logits(*model_), logits(**transformed)), 1e-4) << step;
  }
}

// How a tap's inputs are rotated is how the columns of what reads it are.
TEST_P(Invariance, ReadersAreRotatedAsTheirTapsSay) {
  const CalibrationWindows windows = one_window();
  ThreadPool pool(2);
  for (const auto& [before, after] :
       {std::pair("norms", "r1"), std::pair("norms", "r1:learned"), std::pair("", "r2"),
        std::pair("", "r2:learned"), std::pair("", "r4")}) {
    const auto rotated = TransformedModel::create(*model_, options_of(after), DType::kF32);
    if (!rotated.ok()) continue;
    const auto plain = TransformedModel::create(*model_, options_of(before), DType::kF32).value();
    ASSERT_TRUE((*rotated)->learn(windows, pool).ok());
    int found = 0;
    for (const Tap& tap : plain->taps(1)) {
      const RotationBlocks rotations = (*rotated)->tap_rotations(tap.name, 1);
      EXPECT_TRUE(plain->tap_rotations(tap.name, 1).empty());
      for (const LinearRef& linear : tap.linears) {
        if (rotations.empty() || linear.expert > 0) continue;
        ++found;
        MatrixF w = plain->load(linear.tensor_name).value();
        const MatrixF is = (*rotated)->load(linear.tensor_name).value();
        int64_t first = 0;
        for (const auto& r : rotations) {
          r->to_rows(w.view().block(0, first, w.rows(), r->n()));
          first += r->n();
        }
        EXPECT_EQ(first, linear.in);
        double difference = 0;
        for (int64_t i = 0; i < w.size(); ++i) {
          difference =
              std::max(difference, std::abs(static_cast<double>(w.data()[i]) - is.data()[i]));
        }
        EXPECT_LT(difference, 1e-5) << after << " " << linear.tensor_name;
      }
    }
    EXPECT_GT(found, 0) << after;
  }
}

TEST_P(Invariance, RotationsChangeTheWeights) {
  const auto transformed =
      TransformedModel::create(*model_, options_of("r2,r4"), DType::kF32).value();
  for (const char* role : {"attn_o", "ffn_down", "ffn_down_exps"}) {
    const auto name = model_->role_tensor(role, 1);
    if (!name) continue;
    const MatrixF before = model_->load(*name).value();
    const MatrixF after = transformed->load(*name).value();
    EXPECT_TRUE(transformed->find(*name)->is_edited);
    EXPECT_NE(0, std::memcmp(before.data(), after.data(),
                             static_cast<std::size_t>(before.size()) * sizeof(float)))
        << role;
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, Invariance, ::testing::ValuesIn(kFamilies), [](const auto& row) {
  std::string name = row.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(TransformSteps, AreReadInOrderAndRefusedByName) {
  const auto steps = parse_transform_steps("r2,r1").value();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].text(), "r2");
  EXPECT_FALSE(parse_transform_steps("r9").ok());
  EXPECT_FALSE(parse_transform_steps("r1,r1").ok());
  EXPECT_TRUE(parse_transform_steps("").value().empty());
}

}  // namespace
}  // namespace coldpress
