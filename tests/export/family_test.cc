// Every family from its checkpoint, with a vocabulary made up for it: written as a folder, the same
// bytes; written as GGUF, the golden logits for us, the same function for llama.cpp, and back again
// the same folder. What GGUF cannot express is refused first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "export/config_match.h"
#include "export/export.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

fs::path tiny(const std::string& family) {
  const fs::path here = fs::path(COLDPRESS_SOURCE_DIR) / "tests/golden" / family;
  return fs::exists(here) ? here : fs::path(COLDPRESS_SHARED_DATA) / "tiny" / family;
}

// The type that the golden logits' rotary frequencies were rounded to.
DType golden_type(const std::string& family, DType stored) {
  return fs::exists(fs::path(COLDPRESS_SOURCE_DIR) / "tests/golden" / family) ? DType::kF32
                                                                              : stored;
}

std::string test_name(const ::testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const fs::path source = tiny(GetParam());
    if (!fs::exists(source)) GTEST_SKIP() << source << " is absent";
    fs::create_directory(work_ / "in");
    fs::copy_file(source / "model.safetensors", work_ / "in/model.safetensors");
    Json config = read_json_file(source / "config.json").value();
    edit(config);
    spill(work_ / "in/config.json", config.dump());
    test::add_tokenizer(work_ / "in", test::byte_level_json());
    model_ = test::open_model(work_ / "in");
    ASSERT_NE(model_, nullptr);
    type_ = *dtype_from_name(model_->find(*model_->role_tensor("token_embd", 0))->type);
  }
  virtual void edit(Json& /*config*/) {}

  void expect_same_tensors(const Model& other) const {
    ASSERT_EQ(other.tensors().size(), model_->tensors().size());
    for (const SourceTensor& before : model_->tensors()) {
      const SourceTensor* after = other.find(before.name);
      ASSERT_NE(after, nullptr) << before.name;
      EXPECT_EQ(before.shape, after->shape) << before.name;
      const auto a = model_->load(before.name);
      const auto b = other.load(before.name);
      ASSERT_TRUE(a.ok() && b.ok()) << before.name;
      EXPECT_TRUE(test::same_bits(*a, *b)) << before.name;
    }
  }

  TempFolder work_;
  std::unique_ptr<Model> model_;
  DType type_ = DType::kF32;
};

// Transposed and fused tensors included: put() takes them as (out, in), the file has them as
// before.
TEST_P(Family, FolderToFolderKeepsEveryByte) {
  const Status s = test::rewrite(*model_, work_ / "out", type_);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto written = test::open_model(work_ / "out");
  for (const SourceTensor& before : model_->tensors()) {
    const SourceTensor* after = written->find(before.name);
    ASSERT_NE(after, nullptr) << before.name;
    EXPECT_EQ(before.type, after->type);
    EXPECT_TRUE(std::ranges::equal(before.data, after->data)) << before.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, Family,
                         ::testing::Values("bloom", "falcon", "falcon-11b", "falcon-7b", "gemma2",
                                           "gemma3", "gpt-neox", "gpt2", "granite", "llama",
                                           "llama3-rope", "mistral-window", "mixtral", "olmo2",
                                           "opt", "phi3", "qwen2", "qwen3", "qwen3-moe", "smollm3",
                                           "starcoder2"),
                         test_name);

// llama.cpp reads GELU from a table in fp16, and has only the tanh form of it: what remains between
// it and the exact one is the largest difference here.
double llama_tolerance(const ModelConfig& config) {
  if (config.activation == Activation::kGelu) return test::kGeluForm;
  return config.activation == Activation::kGeluTanh ? test::kGeluTable : test::kSameFunction;
}

class GgufFamily : public Family {
 protected:
  // GGUF has no key for which blocks of SmolLM3 rotate: it is every fourth that does not.
  void edit(Json& config) override {
    edited_ = config.contains("no_rope_layers");
    if (edited_) config["no_rope_layers"] = {1, 1, 1};
  }
  bool edited_ = false;
};

TEST_P(GgufFamily, IsTheSameFunctionAsGgufAndBack) {
  const Status s = test::rewrite(*model_, work_ / "out.gguf", DType::kF32);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto written = test::open_model(work_ / "out.gguf");
  ASSERT_NE(written, nullptr);
  if (!edited_) {
    expect_golden(*written, golden_type(GetParam(), type_),
                  tiny(GetParam()) / "golden.safetensors");
  }
  const MatrixF expected = test::our_logits(*model_);
  EXPECT_LT(test::difference(expected, test::our_logits(*written)), test::kSameFunction);
  const double llama = test::difference(expected, test::llama_logits(work_ / "out.gguf"));
  EXPECT_LT(llama, llama_tolerance(model_->config()));
  RecordProperty("llama_difference", std::to_string(llama));

  const Status back = test::rewrite(*written, work_ / "back", DType::kF32);
  if (std::string(GetParam()) == "llama3-rope") {
    // GGUF keeps its frequency divisors as numbers; no published rule gives these.
    EXPECT_THAT(back.message(), HasSubstr("cannot express this model's rotary frequency scaling"));
    return;
  }
  ASSERT_TRUE(back.ok()) << back.message();
  const auto again = test::open_model(work_ / "back");
  ASSERT_NE(again, nullptr);
  expect_same_tensors(*again);
  EXPECT_EQ(first_difference(model_->config(), again->config()), std::nullopt);
  EXPECT_EQ(model_->config().architecture, again->config().architecture);
}

INSTANTIATE_TEST_SUITE_P(Tiny, GgufFamily,
                         ::testing::Values("bloom", "falcon", "falcon-11b", "falcon-7b", "gemma2",
                                           "gemma3", "gpt-neox", "gpt2", "granite", "llama",
                                           "llama3-rope", "mixtral", "olmo2", "phi3", "qwen2",
                                           "qwen3", "qwen3-moe", "smollm3", "starcoder2"),
                         test_name);

struct Refusal {
  const char* family;
  const char* part;
};

class HfToGgufRefuses : public ::testing::TestWithParam<Refusal> {};

TEST_P(HfToGgufRefuses, WhatGgufCannotExpress) {
  if (!fs::exists(tiny(GetParam().family))) GTEST_SKIP() << GetParam().family << " is absent";
  const auto source = test::open_model(tiny(GetParam().family));
  const TempFolder folder;
  const Status s = open_export({*source, folder / "out.gguf", DType::kF16, {}, "1"}).status();
  EXPECT_EQ(s.code(), StatusCode::kUnsupported);
  EXPECT_THAT(s.message(), HasSubstr(GetParam().part));
  EXPECT_THAT(s.message(), HasSubstr("choose a folder as the output"));
  EXPECT_THAT(folder.names(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Tiny, HfToGgufRefuses,
    ::testing::Values(Refusal{"mistral-window", "GGUF cannot express this model's sliding windows"},
                      Refusal{"smollm3",
                              "GGUF cannot express this model's blocks and heads that rotate"},
                      Refusal{"qwen3-moe-dense-blocks",
                              "GGUF cannot express this model's blocks without experts"},
                      Refusal{"opt", "GGUF has no architecture for opt"}));

}  // namespace
}  // namespace coldpress
