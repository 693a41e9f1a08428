// The ceiling of memory: what is planned, and that bytes do not depend on where buffers lie.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "io/spill.h"
#include "pipeline/memory_plan.h"
#include "tests/pipeline/tiny_runs.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;
using test::random_windows;
using test::tiny;

Recipe ceiling_recipe(const std::string& method) {
  Recipe r;
  r.method = method;
  r.grid.bits = 3;
  r.grid.group = 32;
  r.samples = 12;
  r.seqlen = 48;
  return r;
}

// Memory on disk that counts its pages, and runs out after `most` of them.
class CountedSpill final : public Memory {
 public:
  explicit CountedSpill(int64_t most = INT64_MAX)
      : spill_(SpillFolder::open(fs::current_path(), 0).value()), most_(most) {}
  Result<void*> map(std::size_t bytes) const override {
    if (maps_++ >= most_) return io_error("the disk is full");
    return spill_.map(bytes);
  }
  int64_t maps() const { return maps_; }

 private:
  SpillFolder spill_;
  int64_t most_;
  mutable std::atomic<int64_t> maps_ = 0;
};

using Values = std::map<std::string, std::string>;  // bytes of each tensor, blocks included

Result<Values> press(const Model& model, const Recipe& recipe, int threads,
                     const RunMemory& memory) {
  const Plan plan = make_plan(model, recipe, threads).value();
  ThreadPool pool(threads);
  Values values;
  DriverHooks hooks;
  hooks.put = [&](const std::string& name, const PressedTensor& pressed) {
    std::string bytes;
    for (int64_t i = 0; i < pressed.values.rows; ++i) {
      bytes.append(reinterpret_cast<const char*>(pressed.values.row(i)),
                   static_cast<std::size_t>(pressed.values.cols) * sizeof(float));
    }
    for (int64_t i = 0; i < pressed.blocks.rows; ++i) {
      bytes.append(reinterpret_cast<const char*>(pressed.blocks.row(i)),
                   static_cast<std::size_t>(pressed.blocks.cols));
    }
    values[name] = std::move(bytes);
    return Status();
  };
  COLDPRESS_RETURN_IF_ERROR(
      run_plan(model, plan, random_windows(recipe.samples, recipe.seqlen), hooks, pool, memory)
          .status());
  return values;
}

RunMemory all_in(const Memory& memory) {
  MemoryPlan all;
  all.spilled_kinds = static_cast<int64_t>(kSpillable.size());
  return run_memory(all, memory);
}

class MemoryCeiling : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!fs::exists(tiny(GetParam()))) GTEST_SKIP() << tiny(GetParam()) << " is absent";
    model_ = Model::open(tiny(GetParam())).value();
  }
  void expect_same_bytes(const Recipe& recipe) {
    const CountedSpill spill;
    const auto in_memory = press(*model_, recipe, 1, {});
    const auto on_disk = press(*model_, recipe, 3, all_in(spill));
    ASSERT_TRUE(in_memory.ok()) << in_memory.status().message();
    ASSERT_TRUE(on_disk.ok()) << on_disk.status().message();
    EXPECT_GT(spill.maps(), 0);
    EXPECT_TRUE(*in_memory == *on_disk);
  }
  std::unique_ptr<Model> model_;
};

TEST_P(MemoryCeiling, SameBytesOnDiskWithPropagation) { expect_same_bytes(ceiling_recipe("gptq")); }

TEST_P(MemoryCeiling, SameBytesOnDiskWithoutPropagation) {
  Recipe recipe = ceiling_recipe("admm-q");
  recipe.solver.effort = 1;
  recipe.propagate = false;
  expect_same_bytes(recipe);
}

TEST_P(MemoryCeiling, SameBytesOnDiskInBlocks) {
  Recipe recipe = ceiling_recipe("gptq");
  recipe.grid = {};
  recipe.types.mix = "Q4_0";
  recipe.types.pure = true;
  expect_same_bytes(recipe);
}

TEST_P(MemoryCeiling, AFullDiskIsAnErrorWhereverItStrikes) {
  const Recipe recipe = ceiling_recipe("rtn");
  const CountedSpill unlimited;
  ASSERT_TRUE(press(*model_, recipe, 1, all_in(unlimited)).ok());
  for (int64_t most = 0; most < unlimited.maps(); most += 1 + unlimited.maps() / 20) {
    const CountedSpill spill(most);
    const auto result = press(*model_, recipe, 1, all_in(spill));
    ASSERT_FALSE(result.ok()) << "after " << most << " of " << unlimited.maps();
    EXPECT_EQ(result.status().message(), "the disk is full");
  }
}

TEST_P(MemoryCeiling, SpillsInOrderAndNoMoreThanItMust) {
  Recipe recipe = ceiling_recipe("gptq");
  recipe.samples = 4096;
  const MemoryPlan free = make_plan(*model_, recipe, 2).value().memory;
  EXPECT_EQ(free.spilled_kinds, 0);
  EXPECT_GT(free.peak, free.least);
  int64_t kinds = 0;
  for (auto ceiling = static_cast<uint64_t>(free.peak);; ceiling -= ceiling / 200) {
    const auto plan = make_plan(*model_, recipe, 2, ceiling);
    if (!plan.ok()) break;
    const MemoryPlan& memory = plan->memory;
    EXPECT_LE(memory.peak, static_cast<int64_t>(ceiling));
    EXPECT_GE(memory.spilled_kinds, kinds);
    EXPECT_EQ(memory.without_ceiling, free.peak);
    EXPECT_EQ(memory.spilled_kinds > 0, memory.spilled_peak > 0);
    kinds = memory.spilled_kinds;
  }
  EXPECT_GT(kinds, 0);
}

TEST_P(MemoryCeiling, TooLowACeilingNamesTheLeastThatWorks) {
  const Recipe recipe = ceiling_recipe("admm-q");
  const Status refused = make_plan(*model_, recipe, 2, 1'000'000).status();
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  const std::string message = refused.message();
  EXPECT_THAT(message, HasSubstr("fewer --threads or --no-propagate or --method gptq"));
  const std::size_t at = message.rfind("--max-ram ");
  ASSERT_NE(at, std::string::npos);
  const uint64_t least = std::stoull(message.substr(at + 10)) * 1'000'000;
  EXPECT_TRUE(make_plan(*model_, recipe, 2, least).ok()) << message;
  EXPECT_FALSE(make_plan(*model_, recipe, 2, least - 1'000'000).ok()) << message;
}

INSTANTIATE_TEST_SUITE_P(Families, MemoryCeiling, ::testing::Values("llama", "mixtral", "gpt2"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace coldpress
