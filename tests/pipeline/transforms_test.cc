// The block loop under transforms: what it hands on is still the source's function.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/driver.h"
#include "tests/model/forward.h"
#include "tests/pipeline/tiny_runs.h"
#include "transform/transformed_model.h"

namespace coldpress {
namespace {

// A model with the pressed matrices in the place of its own.
class PressedModel final : public Model {
 public:
  explicit PressedModel(const Model& model) : model_(model) {}
  std::map<std::string, MatrixF> values;

  const Architecture& architecture() const override { return model_.architecture(); }
  const ModelConfig& config() const override { return model_.config(); }
  const std::filesystem::path& path() const override { return model_.path(); }
  bool is_gguf() const override { return model_.is_gguf(); }
  bool source_is_quantised() const override { return model_.source_is_quantised(); }
  const std::vector<SourceTensor>& tensors() const override { return model_.tensors(); }
  const std::vector<SetAside>& set_aside() const override { return model_.set_aside(); }
  const SourceTensor* find(const std::string& name) const override { return model_.find(name); }
  std::vector<Tap> taps(int block) const override { return model_.taps(block); }
  std::optional<std::string> role_tensor(std::string_view role, int block) const override {
    return model_.role_tensor(role, block);
  }
  using Model::load;
  Result<MatrixF> load(const std::string& name, const Memory& memory) const override {
    const auto at = values.find(name);
    if (at != values.end()) return at->second.clone();
    return model_.load(name, memory);
  }

 private:
  const Model& model_;
};

struct Outcome {
  double difference = 0;  // of logits, relative
  int replaced = 0;
  RunReport report;
  std::vector<float> diagonal;  // of the Hessian of the first tap
  std::vector<float> correlation;
};

class TransformedRun : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = test::tiny(GetParam());
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
    source_ = Model::open(folder).value();
  }

  Outcome run(const std::string& steps, int bits = 8, LowBits activations = {},
              std::optional<double> shrinkage = {}) {
    Recipe recipe;
    recipe.shrinkage = shrinkage;
    recipe.method = "rtn";
    recipe.grid.bits = bits;
    recipe.grid.group = 16;
    recipe.samples = 10;
    recipe.seqlen = 48;
    recipe.dense_type = DType::kF32;
    recipe.transform.steps = parse_transform_steps(steps).value();
    recipe.transform.activations = activations;
    const auto model =
        TransformedModel::create(*source_, recipe.transform, recipe.dense_type).value();
    ThreadPool pool(2);
    const Plan plan = make_plan(*model, recipe, 2).value();
    const auto vocab = static_cast<uint64_t>(source_->config().vocab);
    const CalibrationWindows windows =
        test::random_windows(recipe.samples, recipe.seqlen, 0, vocab);
    PressedModel pressed(*model);
    Outcome out;
    DriverHooks hooks;
    hooks.put = [&](const std::string& name, const PressedTensor& tensor) {
      MatrixF copy(tensor.values.rows, tensor.values.cols);
      for (int64_t i = 0; i < copy.rows(); ++i) {
        std::memcpy(copy.row(i), tensor.values.row(i),
                    static_cast<std::size_t>(copy.cols()) * sizeof(float));
      }
      pressed.values[name] = std::move(copy);
      return Status();
    };
    hooks.replace = [&](const std::string& name, MatrixF values) {
      EXPECT_TRUE(model->find(name)->is_edited) << name;
      model->replace(name, std::move(values));
      ++out.replaced;
    };
    hooks.inspect = [&](const LayerProblem& problem, const TensorReport& report) {
      if (report.block != 0 || report.tap != "attn_in") return;
      const View2<const float> c = problem.hessian->correlation();
      out.correlation.assign(c.data, c.data + c.rows * c.cols);
      out.diagonal.assign(problem.hessian->diagonal().begin(), problem.hessian->diagonal().end());
    };
    out.report = run_plan(*model, plan, windows, hooks, pool).value();
    const std::vector<int32_t> ids = {5, 9, 44, 3, 7, 101, 20, 31, 8, 77, 12};
    StageRunner plain(source_->config());
    StageRunner other(model->config());
    const MatrixF before = window_logits(*source_, plain, ids).value();
    const MatrixF after = window_logits(pressed, other, ids).value();
    double squares = 0;
    double size = 0;
    for (int64_t i = 0; i < before.size(); ++i) {
      squares += std::pow(static_cast<double>(before.data()[i]) - after.data()[i], 2);
      size += std::pow(static_cast<double>(before.data()[i]), 2);
    }
    out.difference = std::sqrt(squares / size);
    return out;
  }

  std::unique_ptr<Model> source_;
};

TEST_P(TransformedRun, EightBitsAreNearTheSourceUnderEveryTransform) {
  const double plain = run("").difference;
  EXPECT_LT(plain, 0.03);
  for (const char* steps : {"r2,r3,r4", "smooth", "smooth:0.8", "awq", "magr:0"}) {
    const Outcome out = run(steps);
    EXPECT_LT(out.difference, 0.03) << steps;
    const bool scales = std::string(steps).starts_with("smooth") || steps == std::string("awq");
    EXPECT_EQ(out.replaced > 0, scales) << steps;
  }
}

TEST_P(TransformedRun, RoundedActivationsAreWhatGramsSee) {
  const Outcome plain = run("", 4);
  const Outcome rounded = run("", 4, {3, true, 1.0F, 0});
  EXPECT_NE(plain.report.mean_error, rounded.report.mean_error);
  EXPECT_GT(rounded.difference, plain.difference);
  const Outcome smooth = run("smooth:0.5", 8, {8, true, 1.0F, 0});
  EXPECT_LT(smooth.difference, 0.06);
}

// Nothing but the diagonal is left of the source model's Hessian: a Hadamard rotation makes that
// flat, and scales then cancel out of correlations.
class RotatedRun : public TransformedRun {};

TEST_P(RotatedRun, HessiansOfRotatedTapsAreShrunkInTheSourcesBasis) {
  TransformOptions rotated;
  rotated.steps = parse_transform_steps("r1").value();
  const Outcome plain = run("norms", 8, {}, 1.0);
  const Outcome r1 = run("r1", 8, {}, 1.0);
  const RotationBlocks rotations =
      TransformedModel::create(*source_, rotated, DType::kF32).value()->tap_rotations("attn_in", 0);
  ASSERT_EQ(rotations.size(), 1U);
  const MatrixF r = rotations[0]->matrix();
  for (int64_t i = 0; i < r.rows(); ++i) {
    double expected = 0;
    for (int64_t k = 0; k < r.cols(); ++k) {
      expected +=
          static_cast<double>(r(i, k)) * r(i, k) * plain.diagonal[static_cast<std::size_t>(k)];
    }
    EXPECT_NEAR(r1.diagonal[static_cast<std::size_t>(i)], expected, 1e-4 * expected);
  }
  const Outcome scaled = run("r1,smooth:0.5", 8, {}, 1.0);
  ASSERT_EQ(scaled.correlation.size(), r1.correlation.size());
  EXPECT_NE(scaled.diagonal, r1.diagonal);
  for (std::size_t k = 0; k < r1.correlation.size(); ++k) {
    EXPECT_NEAR(scaled.correlation[k], r1.correlation[k], 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, TransformedRun,
                         ::testing::Values("llama", "gemma2", "falcon", "gpt2", "mixtral", "phi3"));
INSTANTIATE_TEST_SUITE_P(Tiny, RotatedRun, ::testing::Values("llama", "mixtral", "phi3"));

}  // namespace
}  // namespace coldpress
