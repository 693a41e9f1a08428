// Experts in one 3-D tensor, with gate and up in one, written as GGUF: the same file as from one
// tensor per expert, quantised or not.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>

#include "export/export.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/model/tiny_experts.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

constexpr int kBlocks = 3;
constexpr int kExperts = 8;

class StackedExperts : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path source = fs::path(COLDPRESS_SHARED_DATA) / "tiny/qwen3-moe";
    if (!fs::exists(source)) GTEST_SKIP() << source << " is absent";
    test::RawTensors tensors = test::read_raw(source / "model.safetensors");
    for (const char* name : {"split", "stacked"}) {
      fs::create_directory(work_ / name);
      fs::copy_file(source / "config.json", work_ / name / "config.json");
      test::add_tokenizer(work_ / name, test::byte_level_json());
      if (name == std::string("stacked")) test::stack_experts(tensors, kBlocks, kExperts);
      test::write_raw(work_ / name / "model.safetensors", tensors);
    }
    split_ = test::open_model(work_ / "split");
    stacked_ = test::open_model(work_ / "stacked");
    ASSERT_TRUE(split_ != nullptr && stacked_ != nullptr);
  }

  void expect_same_gguf(const fs::path& a, const fs::path& b) const {
    const auto one = test::open_model(a);
    const auto other = test::open_model(b);
    ASSERT_TRUE(one != nullptr && other != nullptr);
    ASSERT_EQ(one->tensors().size(), other->tensors().size());
    for (const SourceTensor& t : one->tensors()) {
      const SourceTensor* twin = other->find(t.name);
      ASSERT_NE(twin, nullptr) << t.name;
      EXPECT_EQ(t.shape, twin->shape) << t.name;
      EXPECT_TRUE(std::ranges::equal(t.data, twin->data)) << t.name;
    }
  }

  TempFolder work_;
  std::unique_ptr<Model> split_;
  std::unique_ptr<Model> stacked_;
};

TEST_F(StackedExperts, AreTheSameGgufAsSplitOnes) {
  ASSERT_NE(stacked_->find("model.layers.0.mlp.experts.gate_up_proj"), nullptr);
  for (const auto& [model, name] :
       {std::pair<const Model*, const char*>{split_.get(), "a.gguf"}, {stacked_.get(), "b.gguf"}}) {
    const auto sink = open_export({*model, work_ / name, DType::kBF16, {}, "1"});
    ASSERT_TRUE(sink.ok()) << sink.status().message();
    ASSERT_TRUE((*sink)->finish(test::kManifest).ok());
  }
  expect_same_gguf(work_ / "a.gguf", work_ / "b.gguf");
}

TEST_F(StackedExperts, AreQuantisedIntoTheSameGguf) {
  const auto split = test::made_up_solutions(*split_, DType::kF16);
  std::map<std::string, MatrixF> stacked;
  for (const Tap& tap : stacked_->taps(0)) {
    for (const LinearRef& linear : tap.linears) EXPECT_EQ(linear.is_stacked, tap.by_expert);
  }
  for (int block = 0; block < kBlocks; ++block) {
    const std::string prefix = "model.layers." + std::to_string(block) + ".mlp.experts.";
    const MatrixF& gate = split.at(prefix + "0.gate_proj.weight");
    const MatrixF& down = split.at(prefix + "0.down_proj.weight");
    MatrixF gate_up(2 * kExperts * gate.rows(), gate.cols());
    MatrixF all_down(kExperts * down.rows(), down.cols());
    for (int e = 0; e < kExperts; ++e) {
      const std::string expert = prefix + std::to_string(e) + ".";
      const auto copy = [&](const char* part, float* to) {
        const MatrixF& m = split.at(expert + part);
        std::copy_n(m.data(), m.size(), to);
      };
      copy("gate_proj.weight", gate_up.row(2 * e * gate.rows()));
      copy("up_proj.weight", gate_up.row((2 * e + 1) * gate.rows()));
      copy("down_proj.weight", all_down.row(e * down.rows()));
    }
    stacked[prefix + "gate_up_proj"] = std::move(gate_up);
    stacked[prefix + "down_proj"] = std::move(all_down);
  }
  const auto write = [&](const Model& model, const std::map<std::string, MatrixF>& solutions,
                         const fs::path& out) {
    const auto sink = open_export({model, out, DType::kF16, test::names_of(solutions), "1"});
    ASSERT_TRUE(sink.ok()) << sink.status().message();
    for (const auto& [name, values] : solutions) {
      ASSERT_TRUE((*sink)->put(name, {values.view(), {}}).ok());
    }
    const Status done = (*sink)->finish(test::kManifest);
    ASSERT_TRUE(done.ok()) << done.message();
    std::map<std::string, int> outputs;
    for (const ExportedTensor& t : (*sink)->tensors()) ++outputs[t.source_name];
    for (const auto& [source, count] : outputs) {
      EXPECT_EQ(count, source.ends_with("gate_up_proj") ? 2 : 1) << source;
    }
  };
  for (const auto& [name, values] : split) {
    if (name.find("experts") != std::string::npos) continue;
    MatrixF copy(values.rows(), values.cols());
    std::copy_n(values.data(), values.size(), copy.data());
    stacked[name] = std::move(copy);
  }
  write(*split_, split, work_ / "a.gguf");
  write(*stacked_, stacked, work_ / "b.gguf");
  expect_same_gguf(work_ / "a.gguf", work_ / "b.gguf");
}

}  // namespace
}  // namespace coldpress
