// The pipeline on models with more than one kind of content: a language model inside one that takes
// images, and blocks with and without experts.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/rng.h"
#include "pipeline/driver.h"
#include "pipeline/plan.h"

namespace coldpress {
namespace {

class GoldenModel : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, EveryLinearIsPressedAndNothingElse) {
  const auto model =
      Model::open(std::filesystem::path(COLDPRESS_SOURCE_DIR) / "tests/golden" / GetParam());
  ASSERT_TRUE(model.ok()) << model.status().message();
  std::set<std::string> linears;
  for (int block = 0; block < (*model)->config().blocks; ++block) {
    for (const Tap& tap : (*model)->taps(block)) {
      for (const LinearRef& linear : tap.linears) linears.insert(linear.tensor_name);
    }
  }
  Recipe recipe;
  recipe.method = "gptq";
  recipe.grid.bits = 4;
  recipe.samples = 8;
  recipe.seqlen = 64;
  const Plan plan = make_plan(**model, recipe, 2).value();
  for (const PlannedTensor& t : plan.tensors) {
    const bool quantised = t.action == TensorAction::kQuantise;
    EXPECT_EQ(quantised, linears.contains(t.name)) << t.name;
    if (t.name.find("vision") != std::string::npos) {
      EXPECT_NE(t.reason.find("image"), std::string::npos) << t.name << ": " << t.reason;
    }
  }
  Rng rng(5);
  CalibrationWindows windows;
  windows.length = recipe.seqlen;
  for (int64_t i = 0; i < recipe.samples * recipe.seqlen; ++i) {
    windows.tokens.push_back(static_cast<int32_t>(3 + rng.below(260)));
  }
  std::set<std::string> pressed;
  DriverHooks hooks;
  hooks.put = [&](const std::string& name, const PressedTensor&) {
    EXPECT_TRUE(pressed.insert(name).second) << name;
    return Status();
  };
  ThreadPool pool(2);
  const auto report = run_plan(**model, plan, windows, hooks, pool);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(pressed, linears);
  for (const TensorReport& t : report->tensors) EXPECT_LE(t.error, t.rtn_error) << t.name;
}

INSTANTIATE_TEST_SUITE_P(Golden, GoldenModel,
                         ::testing::Values("gemma3-vision", "llava", "qwen3-vl",
                                           "qwen3-moe-dense-blocks"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace coldpress
