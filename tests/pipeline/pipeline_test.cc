// The spine on tiny checkpoints: plan, driver, manifest.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "io/json.h"
#include "pipeline/manifest.h"
#include "solver/table.h"
#include "tests/pipeline/tiny_runs.h"

namespace coldpress {
namespace {

using test::random_windows;
using test::tiny;

const char* const kFamilies[] = {"llama",  "llama3-rope", "qwen2",  "qwen3",
                                 "gemma3", "gpt2",        "falcon", "phi3"};

Recipe small_recipe(const std::string& method, int bits = 3) {
  Recipe r;
  r.method = method;
  r.grid.bits = bits;
  r.grid.group = 32;
  r.samples = 12;
  r.seqlen = 64;
  r.propagate = false;  // pipeline/propagation_test.cc
  return r;
}

int64_t linears(const Model& model) {
  int64_t count = 0;
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) count += static_cast<int64_t>(tap.linears.size());
  }
  return count;
}

struct Pressed {
  RunReport report;
  Plan plan;
  std::map<std::string, MatrixF> values;
  Json manifest;
};

Pressed press(const Model& model, const Recipe& recipe, int threads) {
  ThreadPool pool(threads);
  Pressed p;
  p.plan = make_plan(model, recipe, threads).value();
  const CalibrationWindows windows = random_windows(recipe.samples, recipe.seqlen);
  DriverHooks hooks;
  hooks.put = [&](const std::string& name, const PressedTensor& pressed) {
    const View2<const float> v = pressed.values;
    MatrixF copy(v.rows, v.cols);
    for (int64_t i = 0; i < v.rows; ++i)
      std::memcpy(copy.row(i), v.row(i), static_cast<std::size_t>(v.cols) * 4);
    p.values[name] = std::move(copy);
    return Status();
  };
  p.report = run_plan(model, p.plan, windows, hooks, pool).value();
  p.manifest = make_manifest(model, p.plan, windows, p.report, {"test", threads, 0, 0});
  return p;
}

class Pipeline : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(tiny(GetParam())))
      GTEST_SKIP() << tiny(GetParam()) << " is absent";
    model_ = Model::open(tiny(GetParam())).value();
  }
  std::unique_ptr<Model> model_;
};

TEST_P(Pipeline, EveryMethodPressesEveryLinearNoWorseThanRtn) {
  for (const SolverMethod* method : solver_table()) {
    Recipe recipe = small_recipe(std::string(method->name));
    if (method->takes_outliers) recipe.solver.outlier_fraction = 0.01;
    const Pressed p = press(*model_, recipe, 2);
    ASSERT_EQ(static_cast<int64_t>(p.report.tensors.size()), linears(*model_)) << method->name;
    for (const TensorReport& t : p.report.tensors) {
      EXPECT_LE(t.error, t.rtn_error) << method->name << " " << t.name;
      EXPECT_GT(t.error, t.bound) << method->name << " " << t.name;
      EXPECT_EQ(t.calibration_tokens, 12 * 64);
      EXPECT_EQ(p.values.count(t.name), 1U);
    }
  }
}

TEST_P(Pipeline, SameBytesForAnyThreadCount) {
  const Pressed one = press(*model_, small_recipe("admm-q"), 1);
  const Pressed three = press(*model_, small_recipe("admm-q"), 3);
  ASSERT_EQ(one.values.size(), three.values.size());
  for (const auto& [name, value] : one.values) {
    EXPECT_EQ(0, std::memcmp(value.data(), three.values.at(name).data(),
                             static_cast<std::size_t>(value.size()) * sizeof(float)))
        << name;
  }
  EXPECT_EQ(reproducible_part(one.manifest).dump(), reproducible_part(three.manifest).dump());
  EXPECT_EQ(one.manifest["tensors"], three.manifest["tensors"]);
}

TEST_P(Pipeline, SecondsOfThePhasesAreWithinTheWhole) {
  const Pressed p = press(*model_, small_recipe("gptq"), 1);
  const PhaseTimes& s = p.report.seconds;
  double sum = 0;
  for (const double phase : {s.load, s.forward, s.gram, s.solve, s.bound, s.write}) {
    EXPECT_GE(phase, 0);
    sum += phase;
  }
  EXPECT_LE(sum, s.total);
  ASSERT_EQ(static_cast<int64_t>(s.blocks.size()), model_->config().blocks);
  double blocks = 0;
  for (const double block : s.blocks) {
    EXPECT_GT(block, 0);
    blocks += block;
  }
  EXPECT_LE(blocks, s.total);
}

TEST_P(Pipeline, ValuesAreExactInTheDenseType) {
  for (const DType type : {DType::kF16, DType::kBF16}) {
    Recipe recipe = small_recipe("gptq", 4);
    recipe.dense_type = type;
    const Pressed p = press(*model_, recipe, 1);
    for (const auto& [name, value] : p.values) {
      MatrixF rounded = value.clone();
      round_to_dtype(type, {rounded.data(), static_cast<std::size_t>(rounded.size())});
      EXPECT_EQ(
          0, std::memcmp(value.data(), rounded.data(), static_cast<std::size_t>(value.size()) * 4))
          << name;
    }
  }
}

TEST_P(Pipeline, PlanAccountsForEverySourceTensorOnce) {
  const Plan plan = make_plan(*model_, small_recipe("gptq"), 1).value();
  ASSERT_EQ(plan.tensors.size(), model_->tensors().size());
  int64_t quantised = 0;
  for (const PlannedTensor& t : plan.tensors) {
    ASSERT_NE(model_->find(t.name), nullptr);
    if (t.action == TensorAction::kQuantise) {
      ++quantised;
      EXPECT_GE(t.block, 0);
    } else {
      EXPECT_FALSE(t.reason.empty()) << t.name;
      EXPECT_EQ(t.stored_bytes, t.source_bytes);
    }
  }
  EXPECT_EQ(quantised, linears(*model_));
}

// The rows of one tap's Gram come from the forward pass with the quantised weights before it: run
// the windows again through the pressed weights, one by one, and compare what a linear's report
// says.
TEST_P(Pipeline, LaterTapsSeeTheQuantisedEarlierOnes) {
  Recipe recipe = small_recipe("gptq", 2);
  recipe.shrinkage = 0;  // the Hessian that errors are reported by is then the mean itself
  const Pressed p = press(*model_, recipe, 1);
  const CalibrationWindows windows = random_windows(recipe.samples, recipe.seqlen);
  StageRunner runner(model_->config());
  const HeadWeights head = HeadWeights::load(*model_).value();
  const int last = static_cast<int>(model_->config().blocks) - 1;
  const std::vector<Tap> taps = model_->taps(last);
  std::vector<MatrixD> sums;
  for (const Tap& tap : taps) sums.emplace_back(tap.width, tap.width);
  for (int64_t w = 0; w < windows.count(); ++w) {
    MatrixF residual(windows.length, model_->config().hidden);
    ASSERT_TRUE(runner.embed(head, windows.window(w), residual.view()).ok());
    for (int block = 0; block <= last; ++block) {
      BlockWeights weights = BlockWeights::load(*model_, block).value();
      for (const Tap& tap : taps) {
        for (const LinearRef& l : tap.linears) {
          std::string name;
          for (const TensorReport& t : p.report.tensors) {
            if (t.block == block && t.role == l.role) name = t.name;
          }
          const MatrixF& value = p.values.at(name);
          View2<float> into = weights.linear(l.role);
          for (int64_t i = 0; i < into.rows; ++i)
            std::memcpy(into.row(i), value.row(i), static_cast<std::size_t>(into.cols) * 4);
        }
      }
      MatrixF previous;
      for (std::size_t s = 0; s <= taps.size(); ++s) {
        MatrixF tap(windows.length, s < taps.size() ? taps[s].width : 0);
        ASSERT_TRUE(runner
                        .run(weights, block, static_cast<int>(s), residual.view(),
                             s > 0 ? View2<const float>(previous.view()) : View2<const float>(),
                             s < taps.size() ? tap.view() : View2<float>())
                        .ok());
        if (block == last && s < taps.size()) {
          for (int64_t t = 0; t < tap.rows(); ++t) {
            for (int64_t i = 0; i < tap.cols(); ++i) {
              for (int64_t j = 0; j < tap.cols(); ++j) {
                sums[s](i, j) += static_cast<double>(tap(t, i)) * tap(t, j);
              }
            }
          }
        }
        previous = std::move(tap);
      }
    }
  }
  for (const TensorReport& t : p.report.tensors) {
    if (t.block != last) continue;
    std::size_t s = 0;
    while (taps[s].name != t.tap) ++s;
    const MatrixF w = model_->load(t.name).value();
    const MatrixF& q = p.values.at(t.name);
    double f = 0;
    double energy = 0;
    for (int64_t r = 0; r < w.rows(); ++r) {
      for (int64_t i = 0; i < w.cols(); ++i) {
        double eh = 0;
        double wh = 0;
        for (int64_t j = 0; j < w.cols(); ++j) {
          eh += (static_cast<double>(q(r, j)) - w(r, j)) * sums[s](i, j);
          wh += static_cast<double>(w(r, j)) * sums[s](i, j);
        }
        f += eh * (static_cast<double>(q(r, i)) - w(r, i));
        energy += wh * w(r, i);
      }
    }
    EXPECT_NEAR(f / energy, t.error, 2e-3 * t.error) << t.name;  // fp16 rounding of the values
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Pipeline, ::testing::ValuesIn(kFamilies), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// One row and group of D + S holds more values than the grid has, and costs what the manifest says.
TEST(PipelineOutliers, AreInTheValuesAndInTheBits) {
  if (!std::filesystem::exists(tiny("llama"))) GTEST_SKIP() << tiny("llama") << " is absent";
  const auto model = Model::open(tiny("llama")).value();
  for (const OutlierMode mode : {OutlierMode::kUnstructured, OutlierMode::kColumns}) {
    Recipe recipe = small_recipe("quantease-outliers", 2);
    recipe.solver.effort = 2;
    recipe.solver.outlier_fraction = 0.02;
    recipe.solver.outlier_mode = mode;
    const Pressed p = press(*model, recipe, 2);
    const double grid_bits = make_plan(*model, small_recipe("quantease", 2), 2)->bits_per_weight;
    const double bits = p.manifest["result"]["bits_per_weight"];
    EXPECT_GT(bits, grid_bits + 16 * 0.01);
    EXPECT_LE(bits, p.plan.bits_per_weight + 1e-9);
    for (const auto& [name, values] : p.values) {
      int64_t off_grid = 0;
      for (int64_t i = 0; i < values.rows(); ++i) {
        for (int64_t g = 0; g < values.cols(); g += 32) {
          const std::set<float> distinct(values.row(i) + g, values.row(i) + g + 32);
          off_grid += distinct.size() > 4 ? 1 : 0;
        }
      }
      EXPECT_GT(off_grid, 0) << name;
    }
  }
}

TEST(Plan, RefusesOutliersWhereTheyCannotBe) {
  if (!std::filesystem::exists(tiny("llama"))) GTEST_SKIP() << tiny("llama") << " is absent";
  const auto model = Model::open(tiny("llama")).value();
  const auto refusal = [&](const char* method, double fraction, OutlierMode mode) {
    Recipe r = small_recipe(method);
    r.solver.outlier_fraction = fraction;
    r.solver.outlier_mode = mode;
    return make_plan(*model, r, 1).status().message();
  };
  const OutlierMode any = OutlierMode::kUnstructured;
  EXPECT_NE(refusal("gptq", 0.01, any).find("quantease-outliers"), std::string::npos);
  EXPECT_NE(refusal("quantease-outliers", 0, any).find("needs --outliers"), std::string::npos);
  EXPECT_NE(refusal("quantease-outliers", 0.9, any).find("0 to 0.5"), std::string::npos);
  EXPECT_NE(refusal("gptq", 0, OutlierMode::kColumns).find("needs --outliers"), std::string::npos);
}

TEST(Plan, RefusesWhatCannotBeNamingTheTensor) {
  if (!std::filesystem::exists(tiny("llama"))) GTEST_SKIP() << tiny("llama") << " is absent";
  const auto model = Model::open(tiny("llama")).value();
  Recipe r = small_recipe("gptq");
  r.grid.group = 48;
  const auto refused = make_plan(*model, r, 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("model.layers.0."), std::string::npos);
  EXPECT_NE(refused.status().message().find("does not divide"), std::string::npos);
  r = small_recipe("magic");
  EXPECT_NE(make_plan(*model, r, 1).status().message().find("known: "), std::string::npos);
  r = small_recipe("gptq");
  r.seqlen = 100000;
  EXPECT_NE(make_plan(*model, r, 1).status().message().find("context"), std::string::npos);
}

}  // namespace
}  // namespace coldpress
