// The language model inside a checkpoint that also takes images: folders keep all of it, GGUF files
// and folders made of them hold the language model alone and compute the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

#include "export/export.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using How = ExportedTensor::How;

fs::path golden(const std::string& name) {
  return fs::path(COLDPRESS_SOURCE_DIR) / "tests/golden" / name;
}

class Nested : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    fs::create_directory(work_ / "in");
    for (const char* file : {"model.safetensors", "config.json"}) {
      fs::copy_file(golden(GetParam()) / file, work_ / "in" / file);
    }
    test::add_tokenizer(work_ / "in", test::byte_level_json());
    model_ = test::open_model(work_ / "in");
    ASSERT_NE(model_, nullptr);
    for (int block = 0; block < model_->config().blocks; ++block) {
      for (const Tap& tap : model_->taps(block)) {
        for (const LinearRef& linear : tap.linears) linears_.insert(linear.tensor_name);
      }
    }
  }
  TempFolder work_;
  std::unique_ptr<Model> model_;
  std::set<std::string> linears_;
};

TEST_P(Nested, FolderKeepsTheEncoderAndTheConfiguration) {
  const auto solutions = test::made_up_solutions(*model_, DType::kBF16);
  ASSERT_EQ(solutions.size(), linears_.size());
  auto sink = open_export({*model_, work_ / "out", DType::kBF16, test::names_of(solutions), "1"});
  ASSERT_TRUE(sink.ok()) << sink.status().message();
  for (const auto& [name, values] : solutions)
    ASSERT_TRUE((*sink)->put(name, {values.view(), {}}).ok());
  ASSERT_TRUE((*sink)->finish(test::kManifest).ok());
  const auto written = test::open_model(work_ / "out");
  ASSERT_EQ(written->tensors().size(), model_->tensors().size());
  for (const SourceTensor& before : model_->tensors()) {
    const SourceTensor* after = written->find(before.name);
    ASSERT_NE(after, nullptr) << before.name;
    EXPECT_EQ(std::ranges::equal(before.data, after->data), !linears_.contains(before.name))
        << before.name;
  }
  EXPECT_EQ(slurp(work_ / "out/config.json"), slurp(work_ / "in/config.json"));
}

INSTANTIATE_TEST_SUITE_P(Golden, Nested,
                         ::testing::Values("gemma3-vision", "llava", "mistral3", "qwen2.5-vl",
                                           "qwen3-vl", "smolvlm"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

class NestedGguf : public Nested {};

TEST_P(NestedGguf, HoldsTheLanguageModelAndSaysWhatItLacks) {
  const Status s = test::rewrite(*model_, work_ / "out.gguf", DType::kF32);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto written = test::open_model(work_ / "out.gguf");
  ASSERT_NE(written, nullptr);
  expect_golden(*written, DType::kF32, golden(GetParam()) / "golden.safetensors");
  const MatrixF expected = test::our_logits(*model_);
  ModelConfig theirs = model_->config();
  // llama.cpp's loader forgets this family's epsilon.
  if (std::string(GetParam()) == "qwen2.5-vl") theirs.norm_eps = 0;
  const bool gelu = theirs.activation == Activation::kGeluTanh;
  EXPECT_LT(
      test::difference(test::our_logits(*model_, theirs), test::llama_logits(work_ / "out.gguf")),
      gelu ? test::kGeluTable : test::kSameFunction);

  const auto sink = open_export({*model_, work_ / "other.gguf", DType::kF32, {}, "1"});
  ASSERT_TRUE(sink.ok());
  std::size_t dropped = 0;
  for (const ExportedTensor& t : (*sink)->tensors()) {
    if (t.how != How::kDropped) continue;
    ++dropped;
    EXPECT_THAT(t.reason, HasSubstr("image")) << t.source_name;
  }
  EXPECT_EQ(dropped + written->tensors().size(),
            model_->tensors().size() + (written->find("rope_freqs.weight") != nullptr ? 1U : 0U));

  const Status back = test::rewrite(*written, work_ / "back", DType::kF32);
  if (std::string(GetParam()) == "qwen2.5-vl") {
    EXPECT_THAT(back.message(), HasSubstr("needs its image encoder"));
    return;
  }
  ASSERT_TRUE(back.ok()) << back.message();
  const auto again = test::open_model(work_ / "back");
  ASSERT_NE(again, nullptr);
  EXPECT_LT(test::difference(expected, test::our_logits(*again)), test::kSameFunction);
}

INSTANTIATE_TEST_SUITE_P(Golden, NestedGguf,
                         ::testing::Values("gemma3-vision", "llava", "mistral3", "qwen2.5-vl",
                                           "smolvlm"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

TEST(NestedRefusals, AFamilyThatGgufDoesNotKnow) {
  const auto model = test::open_model(golden("qwen3-vl"));
  ASSERT_NE(model, nullptr);
  const TempFolder folder;
  const Status s = open_export({*model, folder / "out.gguf", DType::kF16, {}, "1"}).status();
  EXPECT_THAT(s.message(), HasSubstr("GGUF has no architecture for qwen3-vl"));
}

}  // namespace
}  // namespace coldpress
