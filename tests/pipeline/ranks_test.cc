// Several ranks make the model that one process makes, to the last bit; and whichever message
// fails, all of them end with an error that says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/json.h"
#include "pipeline/manifest.h"
#include "pipeline/owners.h"
#include "tests/distributed/thread_comm.h"
#include "tests/pipeline/tiny_runs.h"
#include "transform/transformed_model.h"

namespace coldpress {
namespace {

using test::random_windows;

constexpr int64_t kLength = 48;

// What a rank made: every value and packed block that it would write, and what it says of them.
struct Made {
  std::map<std::string, std::string> bytes;
  std::string manifest;
};

struct Case {
  const char* name;
  const char* family;
  int64_t windows;
  Recipe recipe;
};

Recipe split_recipe(const std::string& method) {
  Recipe r;
  r.method = method;
  r.grid.bits = 3;
  r.grid.group = 32;
  r.seqlen = kLength;
  return r;
}

// 20 windows are three shards, the last of them half full.
std::vector<Case> cases() {
  std::vector<Case> all;
  all.push_back({"Propagated", "llama", 20, split_recipe("admm-q")});
  all.push_back({"Unpropagated", "gpt2", 20, split_recipe("gptq")});
  all.back().recipe.propagate = false;
  all.push_back({"Experts", "qwen3-moe", 20, split_recipe("gptq")});
  all.push_back({"WideExperts", "mixtral", 33, split_recipe("quantease")});
  all.push_back({"Smoothed", "llama", 20, split_recipe("gptq")});
  all.back().recipe.transform.steps = parse_transform_steps("smooth,magr").value();
  all.back().recipe.transform.activations = {8, true, 1.0F, 0};
  all.push_back({"Scaled", "qwen2", 20, split_recipe("gptq")});
  all.back().recipe.transform.steps = parse_transform_steps("awq").value();
  all.push_back({"Outliers", "llama", 9, split_recipe("quantease-outliers")});
  all.back().recipe.solver.outlier_fraction = 0.02;
  all.push_back({"Blocks", "llama", 20, split_recipe("gptq")});  // embeddings and head too
  all.back().recipe.grid = {};
  all.back().recipe.types.mix = "Q4_0";
  all.back().recipe.types.pure = true;
  all.push_back({"Head", "qwen3", 20, split_recipe("gptq")});
  all.back().recipe.grid.symmetric = true;
  all.back().recipe.quantise_head = true;
  all.back().recipe.code_format = "gptq";
  for (Case& c : all) c.recipe.samples = c.windows;
  return all;
}

Result<Made> press(const Case& c, int threads, Comm* comm) {
  const std::string folder = test::tiny(c.family);
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> source, Model::open(folder));
  COLDPRESS_ASSIGN_OR_RETURN(
      const std::unique_ptr<TransformedModel> model,
      TransformedModel::create(*source, c.recipe.transform, c.recipe.dense_type));
  COLDPRESS_ASSIGN_OR_RETURN(const Plan plan, make_plan(*model, c.recipe, threads));
  const CalibrationWindows windows = random_windows(c.windows, kLength);
  ThreadPool pool(threads);
  Made made;
  const auto keep = [&](const std::string& name, View2<const float> values) {
    std::string& all = made.bytes[name];
    for (int64_t i = 0; i < values.rows; ++i) {
      all.append(reinterpret_cast<const char*>(values.row(i)),
                 static_cast<std::size_t>(values.cols) * sizeof(float));
    }
  };
  DriverHooks hooks;
  hooks.put = [&](const std::string& name, const PressedTensor& tensor) {
    keep(name, tensor.values);
    for (int64_t i = 0; i < tensor.blocks.rows; ++i) {
      made.bytes[name + " blocks"].append(reinterpret_cast<const char*>(tensor.blocks.row(i)),
                                          static_cast<std::size_t>(tensor.blocks.cols));
    }
    return Status();
  };
  hooks.replace = [&](const std::string& name, MatrixF values) {
    keep(name, values.view());
    model->replace(name, std::move(values));
  };
  COLDPRESS_ASSIGN_OR_RETURN(const RunReport report,
                             run_plan(*model, plan, windows, hooks, pool, {}, comm));
  const Json manifest = make_manifest(*model, plan, windows, report, {"test", 1, 0, 0});
  made.manifest = reproducible_part(manifest).dump() + manifest["tensors"].dump();
  return made;
}

class Ranks : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(test::tiny("llama"))) GTEST_SKIP() << "the tiny models are absent";
  }
};

TEST_P(Ranks, MakeTheSameBytesAsOneProcess) {
  const auto alone = press(GetParam(), 2, nullptr);
  ASSERT_TRUE(alone.ok()) << alone.status().message();
  ASSERT_FALSE(alone->bytes.empty());
  for (const int size : {1, 2, 3, 4}) {  // of three shards, so that one of four has none
    std::vector<Made> made(static_cast<std::size_t>(size));
    test::ThreadRanks ranks(size);
    const auto results = ranks.run([&](Comm& comm) -> Status {
      // Not all with as many threads, once.
      const int threads = size == 3 ? 1 + comm.rank() : 2;
      COLDPRESS_ASSIGN_OR_RETURN(made[static_cast<std::size_t>(comm.rank())],
                                 press(GetParam(), threads, &comm));
      return {};
    });
    for (const Status& status : results) ASSERT_TRUE(status.ok()) << status.message();
    for (const Made& m : made) {
      EXPECT_EQ(m.manifest, alone->manifest) << size;
      ASSERT_EQ(m.bytes.size(), alone->bytes.size());
      for (const auto& [name, bytes] : m.bytes) EXPECT_TRUE(bytes == alone->bytes.at(name)) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, Ranks, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return std::string(test.param.name); });

// Of the smallest runs that have every kind of message: sums, rows of experts, solutions, scales.
TEST(RanksThatFail, AllEndWhicheverMessageIsLost) {
  if (!std::filesystem::exists(test::tiny("llama"))) GTEST_SKIP() << "the tiny models are absent";
  std::vector<Case> some;
  some.push_back({"", "qwen3-moe", 10, split_recipe("rtn")});
  some.push_back({"", "llama", 10, split_recipe("rtn")});
  some.back().recipe.transform.steps = parse_transform_steps("smooth").value();
  for (Case& c : some) {
    c.recipe.grid.clip = Clip::kNone;
    c.recipe.samples = c.windows;
    const auto work = [&](Comm& comm) { return press(c, 1, &comm).status(); };
    test::ThreadRanks whole(2);
    for (const Status& status : whole.run(work)) ASSERT_TRUE(status.ok()) << status.message();
    const int64_t step = std::max<int64_t>(1, whole.packets() / 12);
    for (int64_t n = 0; n < whole.packets(); n += step) {
      test::ThreadRanks ranks(2, n);
      int failed = 0;
      for (const Status& status : ranks.run(work)) {
        if (status.ok()) continue;  // it had all it needed
        ++failed;
        EXPECT_THAT(status.message(), testing::HasSubstr("made to fail"));
      }
      EXPECT_GE(failed, 1) << n;
    }
  }
}

TEST(Owners, TheDearestGoFirstToTheLeastBusy) {
  const double costs[] = {2, 7, 3, 5, 4};
  EXPECT_EQ(assign_owners(costs, 1, kEveryRank), (std::vector<int>{0, 0, 0, 0, 0}));
  // 7 | 5, then 4 joins 5, then 3 joins 7, then 2 joins 9.
  EXPECT_EQ(assign_owners(costs, 2, kEveryRank), (std::vector<int>{1, 0, 0, 1, 1}));
  // One linear is solved where its sums are.
  EXPECT_EQ(assign_owners(std::vector<double>{1}, 4, 2), std::vector<int>{2});
}

}  // namespace
}  // namespace coldpress
