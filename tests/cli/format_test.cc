// Folders whose linears are codes, from the command line: --format, --quantize-head, --shard-size,
// --target and --tp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;

using Words = std::vector<std::string>;

Words joined(Words first, const Words& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

class Format : public testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_ / "model";
    text_ = folder_ / "text.txt";
    write_tiny_model(model_);
    write_tiny_text(text_);
  }
  CommandResult quantize(const std::string& out, const Words& options) {
    return run_coldpress(joined({"quantize", model_, "--calibration", text_, "--samples", "2",
                                 "--seqlen", "64", "--method", "gptq", "-o", folder_ / out},
                                options));
  }
  CommandResult plan(const Words& options) {
    return run_coldpress(joined({"plan", model_, "--calibration", text_}, options));
  }
  double perplexity(const fs::path& model) {
    const CommandResult result = run_coldpress({"eval", model, "--text", text_, "--protocol",
                                                "llama.cpp-512", "--windows", "1", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto json = parse_json(result.out, "stdout");
    return json.ok() ? (*json)["perplexity"].get<double>() : 0;
  }
  // Rewrites keys of the model's configuration.
  void configure(const std::vector<std::pair<std::string, Json>>& keys) {
    Json json = parse_json(slurp(model_ / "config.json"), "config").value();
    for (const auto& [key, value] : keys) json[key] = value;
    write_file(model_ / "config.json", json.dump(2));
  }

  TempFolder folder_;
  fs::path model_;
  fs::path text_;
};

TEST_F(Format, CodesEvaluateAsTheDenseFolderOfTheSameValues) {
  const Words grid = {"--bits", "4", "--group", "32", "--symmetric"};
  ASSERT_EQ(quantize("dense", grid).exit_code, 0);
  const double dense = perplexity(folder_ / "dense");
  for (const char* format : {"compressed-tensors", "gptq", "gptq-v2", "int-quantized"}) {
    const CommandResult result = quantize(format, joined(grid, {"--format", format}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(perplexity(folder_ / format), dense) << format;
    EXPECT_LT(fs::file_size(folder_ / format / "model.safetensors"),
              fs::file_size(folder_ / "dense/model.safetensors"));
  }
  const CommandResult inspected = run_coldpress({"inspect", folder_ / "compressed-tensors"});
  EXPECT_THAT(inspected.out, ContainsRegex("down_proj.weight +INT4 g32 +128x256"));
  const CommandResult gptq = run_coldpress({"inspect", folder_ / "gptq"});
  EXPECT_THAT(gptq.out, ContainsRegex("down_proj.weight +GPTQ INT4 g32 +128x256"));
}

TEST_F(Format, AGgufFileBecomesAFolderOfCodes) {
  ASSERT_EQ(run_coldpress({"convert", model_, "-o", folder_ / "model.gguf"}).exit_code, 0);
  model_ = folder_ / "model.gguf";
  const CommandResult result =
      quantize("out", {"--bits", "4", "--group", "32", "--format", "compressed-tensors"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_GT(perplexity(folder_ / "out"), 1.0);
}

TEST_F(Format, PlanTellsTypesAndBytes) {
  const CommandResult result = plan({"--bits", "4", "--group", "32", "--format", "gptq-v2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  // 128 x 256 codes of 4 bits, 8 groups of 128 zeros of 4 bits and scales of 2 bytes, 256 groups.
  EXPECT_THAT(
      result.out,
      ContainsRegex("0.mlp.down_proj.weight +128x256 +quantise +F32 +GPTQ INT4 g32 +19968"));
  EXPECT_THAT(result.out, HasSubstr("stored as gptq-v2"));
}

TEST_F(Format, ScalesHaveTheSourcesType) {
  ASSERT_EQ(
      run_coldpress({"convert", model_, "-o", folder_ / "bf16", "--dense-type", "bf16"}).exit_code,
      0);
  model_ = folder_ / "bf16";
  const Words options = {"--bits", "4", "--format", "compressed-tensors", "--json"};
  const Json natural = parse_json(plan(options).out, "stdout").value();
  EXPECT_EQ(natural["recipe"]["dense_type"], "BF16");
  EXPECT_EQ(natural["recipe"]["grid"]["scale_type"], "BF16");
  const Json gptq =  // whose loaders keep scales in F16
      parse_json(plan({"--bits", "4", "--format", "gptq-v2", "--json"}).out, "stdout").value();
  EXPECT_EQ(gptq["recipe"]["grid"]["scale_type"], "F16");
  const Json asked =
      parse_json(plan(joined(options, {"--dense-type", "f16"})).out, "stdout").value();
  EXPECT_EQ(asked["recipe"]["grid"]["scale_type"], "F16");
}

TEST_F(Format, TheHeadIsQuantisedOnRequest) {
  for (const char* format : {"dense", "compressed-tensors"}) {
    const Words options = {"--bits", "8", "--format", format, "--quantize-head", "--json"};
    const CommandResult result = quantize(format, options);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Json manifest = parse_json(result.out, "stdout").value();
    for (const Json& row : manifest["tensors"]) {
      if (row["name"] != "lm_head.weight") continue;
      EXPECT_EQ(row["action"], "quantised");
    }
  }
  const Json config = parse_json(slurp(folder_ / "compressed-tensors/config.json"), "c").value();
  EXPECT_EQ(config["quantization_config"]["ignore"], Json::array());
}

TEST_F(Format, ATiedHeadIsNotQuantised) {
  configure({{"tie_word_embeddings", true}});
  expect_refusal(plan({"--bits", "4", "--quantize-head"}), 1, {"table of embeddings", "--type"});
  expect_refusal(plan({"--type", "Q8_0", "--quantize-head"}), 1, {"--output-tensor-type"});
}

TEST_F(Format, ShardsAreOfTheSizeAskedFor) {
  for (const char* verb : {"quantize", "convert"}) {
    const fs::path out = folder_ / verb;
    const CommandResult result =
        verb == std::string("quantize")
            ? quantize(verb, {"--bits", "4", "--shard-size", "200K"})
            : run_coldpress({"convert", model_, "-o", out, "--shard-size", "200K"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    int shards = 0;
    for (const auto& entry : fs::directory_iterator(out)) {
      if (entry.path().extension() == ".safetensors") ++shards;
    }
    EXPECT_GE(shards, 2);
    EXPECT_TRUE(fs::exists(out / "model.safetensors.index.json"));
  }
  expect_refusal(quantize("out.gguf", {"--bits", "4", "--shard-size", "200K"}), 1,
                 {"--split-max-size"});
}

struct Refusal {
  Words options;
  Words says;     // the refusal's words
  Words instead;  // the options that it proposes, in place of all
};

// Refused with `says`; what it proposes works.
void expect_alternative(const std::function<CommandResult(const Words&)>& plan,
                        const Refusal& refusal) {
  const CommandResult result = plan(refusal.options);
  expect_refusal(result, 1, refusal.says);
  const CommandResult instead = plan(refusal.instead);
  EXPECT_EQ(instead.exit_code, 0) << instead.err;
}

TEST_F(Format, WhatAFormatDoesNotHoldIsRefusedWithWhatItDoes) {
  const std::vector<Refusal> refusals = {
      {{"--bits", "4", "--format", "gptq"},
       {"--symmetric", "gptq-v2"},
       {"--bits", "4", "--format", "gptq-v2"}},
      {{"--bits", "5", "--format", "gptq", "--symmetric"},
       {"--bits 4"},
       {"--bits", "4", "--format", "gptq", "--symmetric"}},
      {{"--bits", "7", "--format", "gptq-v2"},
       {"--bits 8"},
       {"--bits", "8", "--format", "gptq-v2"}},
      {{"--bits", "6", "--format", "int-quantized", "--symmetric"},
       {"--bits 8"},
       {"--bits", "8", "--format", "int-quantized", "--symmetric"}},
      {{"--bits", "8", "--format", "int-quantized"},
       {"--symmetric"},
       {"--bits", "8", "--format", "int-quantized", "--symmetric"}},
      {{"--bits", "4", "--grid", "nf4", "--format", "compressed-tensors"},
       {"use integers", "--format dense"},
       {"--bits", "4", "--format", "compressed-tensors"}},
      {{"--bits", "4", "--method", "gptq-outliers", "--outliers", "0.01", "--format", "gptq",
        "--symmetric"},
       {"--outliers", "--format dense"},
       {"--bits", "4", "--method", "gptq-outliers", "--outliers", "0.01", "--format", "dense"}},
      {{"--bits", "4", "--group", "48", "--format", "compressed-tensors"},
       {"48", "divide"},
       {"--bits", "4", "--group", "64", "--format", "compressed-tensors"}},
      {{"--bits", "4", "--dense-type", "f32", "--format", "compressed-tensors"},
       {"--dense-type f16 or bf16"},
       {"--bits", "4", "--dense-type", "f16", "--format", "compressed-tensors"}},
      {{"--bits", "4", "--scale-type", "bf16", "--format", "compressed-tensors"},
       {"--scale-type f16"},
       {"--bits", "4", "--scale-type", "f16", "--format", "compressed-tensors"}},
      {{"--type", "Q4_0", "--format", "compressed-tensors"},
       {"--bits"},
       {"--bits", "4", "--format", "compressed-tensors"}},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(testing::PrintToString(refusal.options));
    expect_alternative([this](const Words& w) { return plan(w); }, refusal);
  }
  expect_refusal(plan({"--bits", "4", "--format", "awq"}), 2,
                 {"awq", "compressed-tensors", "gptq-v2"});
  expect_refusal(quantize("out.gguf", {"--bits", "4", "--format", "compressed-tensors"}), 1,
                 {"out.gguf", "folder's name"});
}

// The tiny model has 4 heads, 1 of keys, rows of 32 to 256 and columns of 128 and 256.
TEST_F(Format, WhatATargetDoesNotLoadIsRefusedWithWhatItDoes) {
  const Words ct = {"--format", "compressed-tensors"};
  const auto vllm = [&](Words options) { return joined(options, {"--target", "vllm"}); };
  const std::vector<Refusal> refusals = {
      {vllm(joined({"--bits", "3", "--symmetric"}, ct)),
       {"vllm", "--bits 4"},
       vllm(joined({"--bits", "4", "--symmetric"}, ct))},
      {vllm(joined({"--bits", "8"}, ct)),
       {"--symmetric"},
       vllm(joined({"--bits", "8", "--symmetric"}, ct))},
      {vllm({"--bits", "4", "--symmetric", "--format", "gptq-v2"}),
       {"--format gptq"},
       vllm({"--bits", "4", "--symmetric", "--format", "gptq"})},
      {vllm({"--bits", "4", "--format", "gptq-v2"}),
       {"--format compressed-tensors"},
       vllm(joined({"--bits", "4"}, ct))},
      {vllm({"--bits", "4", "--symmetric", "--format", "int-quantized"}),
       {"--bits 8 --group channel"},
       vllm({"--bits", "8", "--symmetric", "--format", "int-quantized"})},
      {vllm(joined({"--bits", "4", "--group", "16", "--symmetric"}, ct)),
       {"--group 128"},
       vllm(joined({"--bits", "4", "--group", "128", "--symmetric"}, ct))},
      // 128 columns of o over 2 devices.
      {vllm(joined({"--bits", "4", "--group", "128", "--symmetric", "--tp", "2"}, ct)),
       {"o_proj", "64 columns on each of 2 devices", "--group 64"},
       vllm(joined({"--bits", "4", "--group", "64", "--symmetric", "--tp", "2"}, ct))},
      {vllm(joined({"--bits", "4", "--symmetric", "--tp", "3"}, ct)),
       {"4 heads", "--tp 2"},
       vllm(joined({"--bits", "4", "--symmetric", "--tp", "2"}, ct))},
      // No whole tiles of the fast kernel; the slower one computes in fp16.
      {vllm(joined({"--bits", "4", "--symmetric", "--tp", "2", "--dense-type", "bf16"}, ct)),
       {"64", "--dense-type f16"},
       vllm(joined({"--bits", "4", "--symmetric", "--tp", "2", "--dense-type", "f16"}, ct))},
      {vllm(joined({"--bits", "4", "--group", "32", "--tp", "2"}, ct)),
       {"--symmetric --dense-type f16"},
       vllm(joined(
           {"--bits", "4", "--group", "32", "--tp", "2", "--symmetric", "--dense-type", "f16"},
           ct))},
      {joined({"--bits", "4", "--symmetric", "--target", "transformers", "--tp", "2"}, ct),
       {"--tp 1"},
       joined({"--bits", "4", "--symmetric", "--target", "transformers", "--tp", "1"}, ct)},
      {joined({"--bits", "4", "--target", "transformers"}, ct),
       {"--symmetric", "gptq-v2"},
       {"--bits", "4", "--target", "transformers", "--format", "gptq-v2"}},
      {joined({"--bits", "3", "--target", "llama.cpp"}, ct),
       {"--type Q3_K_M"},
       {"--type", "Q3_K_M", "--target", "llama.cpp", "--allow-fallback"}},
      {{"--type", "Q4_0", "--target", "vllm"},
       {"--bits 4 --format compressed-tensors"},
       vllm(joined({"--bits", "4"}, ct))},
      {{"--bits", "4", "--tp", "2"}, {"--target"}, {"--bits", "4"}},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(testing::PrintToString(refusal.options));
    expect_alternative([this](const Words& w) { return plan(w); }, refusal);
  }
  expect_refusal(quantize("out.gguf", {"--bits", "4", "--target", "vllm"}), 1, {"folder's name"});
  expect_refusal(quantize("out", {"--bits", "4", "--target", "llama.cpp"}), 1, {"NAME.gguf"});
  expect_refusal(plan({"--bits", "4", "--target", "tgi"}), 2, {"vllm"});
}

}  // namespace
}  // namespace coldpress::test
