// Why llama.cpp's logits differ from ours where a family has GELU: it looks the function up in a
// table of fp16 values at fp16 arguments, and knows only the tanh form. With the same table in our
// forward pass the difference must be gone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "export/export.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

float as_f16(float v) {
  float one[1] = {v};
  round_to_dtype(DType::kF16, one);
  return one[0];
}

float table_gelu(float x) {
  if (x <= -10.0F) return 0.0F;
  if (x >= 10.0F) return x;
  const double v = as_f16(x);
  const double inner = std::sqrt(2.0 / M_PI) * v * (1.0 + 0.044715 * v * v);
  return as_f16(static_cast<float>(0.5 * v * (1.0 + std::tanh(inner))));
}

// x W^T (+ bias), summed in double.
MatrixF linear(const BlockWeights& weights, const std::string& role, View2<const float> x) {
  const View2<const float> w = weights.linear(role);
  const MatrixF* bias = weights.find(role + "_bias");
  MatrixF y(x.rows, w.rows);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t i = 0; i < w.rows; ++i) {
      double sum = bias == nullptr ? 0.0 : bias->data()[i];
      for (int64_t j = 0; j < w.cols; ++j) sum += static_cast<double>(x.row(t)[j]) * w.row(i)[j];
      y(t, i) = static_cast<float>(sum);
    }
  }
  return y;
}

void table_feed_forward(const BlockWeights& weights, View2<const float> in, View2<float> mid) {
  const MatrixF up = linear(weights, "ffn_up", in);
  const bool gated = weights.find("ffn_gate") != nullptr;
  const MatrixF gate = gated ? linear(weights, "ffn_gate", in) : MatrixF();
  for (int64_t t = 0; t < mid.rows; ++t) {
    for (int64_t i = 0; i < mid.cols; ++i) {
      mid.row(t)[i] = gated ? table_gelu(gate(t, i)) * up(t, i) : table_gelu(up(t, i));
    }
  }
}

class GeluTable : public ::testing::TestWithParam<const char*> {};

TEST_P(GeluTable, IsAllThatDiffers) {
  const fs::path source = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
  if (!fs::exists(source)) GTEST_SKIP() << source << " is absent";
  const TempFolder work;
  fs::create_directory(work / "in");
  for (const char* file : {"model.safetensors", "config.json"}) {
    fs::copy_file(source / file, work / "in" / file);
  }
  test::add_tokenizer(work / "in", test::byte_level_json());
  const auto model = test::open_model(work / "in");
  ASSERT_NE(model, nullptr);
  ASSERT_TRUE(test::rewrite(*model, work / "out.gguf", DType::kF32).ok());
  StageRunner runner(model->config());
  const auto tabled =
      window_logits(*model, runner, test::some_ids(model->config().vocab), table_feed_forward);
  ASSERT_TRUE(tabled.ok()) << tabled.status().message();
  const MatrixF theirs = test::llama_logits(work / "out.gguf");
  const double exact = test::difference(test::our_logits(*model), theirs);
  const double table = test::difference(*tabled, theirs);
  RecordProperty("exact", std::to_string(exact));
  RecordProperty("table", std::to_string(table));
  std::printf("%s: exact GELU %.1e, llama.cpp's table %.1e\n", GetParam(), exact, table);
  EXPECT_LT(table, 1e-3);
  EXPECT_LT(table, exact / 2);
}

INSTANTIATE_TEST_SUITE_P(Tiny, GeluTable,
                         ::testing::Values("bloom", "falcon", "gemma2", "gemma3", "gpt-neox",
                                           "gpt2", "starcoder2"),
                         [](const auto& row) {
                           std::string name = row.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace coldpress
