// coldpress quantize --type: a GGUF file in llama.cpp's own blocks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class QuantizeTypes : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }
  CommandResult quantize(const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> words = {"quantize",
                                      folder_ / "model",
                                      "--calibration",
                                      folder_ / "text.txt",
                                      "--samples",
                                      "4",
                                      "--seqlen",
                                      "64",
                                      "-o",
                                      folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    return run_coldpress(words);
  }
  std::map<std::string, std::string> types_in(const std::string& file) {
    std::map<std::string, std::string> types;
    const auto gguf = GgufFile::open(folder_ / file);
    EXPECT_TRUE(gguf.ok());
    for (const GgufTensor& t : gguf->content().tensors) {
      types[t.name] = ggml_type_info(t.ggml_type)->name;
    }
    return types;
  }
  std::map<std::string, std::string> planned_types(std::vector<std::string> more) {
    std::vector<std::string> words = {"plan", folder_ / "model", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_coldpress(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::map<std::string, std::string> types;
    const auto json = parse_json(result.out, "stdout");
    for (const Json& t : (*json)["tensors"]) types[t["name"]] = t["type"];
    return types;
  }
  double perplexity(const std::string& model) {
    const CommandResult result =
        run_coldpress({"eval", folder_ / model, "--text", folder_ / "text.txt", "--protocol",
                       "llama.cpp-512", "--windows", "2", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return (*parse_json(result.out, "stdout"))["perplexity"];
  }
  TempFolder folder_;
};

TEST_F(QuantizeTypes, EveryTensorHasTheTypeOfThePlan) {
  const std::vector<std::vector<std::string>> mixes = {
      {"--type", "Q4_0", "--pure"},
      {"--type", "Q4_K_M", "--allow-fallback"},
      {"--type", "Q2_K", "--allow-fallback"},
      {"--type", "IQ4_NL", "--allow-fallback", "--output-tensor-type", "q8_0"},
      {"--type", "Q5_1", "--output-tensor-type", "q8_0", "--tensor-type", "attn_v=q8_0",
       "--tensor-type", "ffn=q4_1"},
      {"--type", "IQ2_M", "--allow-fallback"},
      {"--type", "IQ3_XXS", "--allow-fallback"},
      {"--type", "MXFP4_MOE", "--tensor-type", "attn_v=mxfp4", "--tensor-type", "attn_k=nvfp4",
       "--tensor-type", "blk.0.ffn_down=iq2_xxs", "--tensor-type", "ffn_down=iq2_xs"}};
  int k = 0;
  for (std::vector<std::string> mix : mixes) {
    const std::string out = "out" + std::to_string(k++) + ".gguf";
    const auto planned = planned_types(mix);
    mix.insert(mix.end(), {"--method", "gptq"});
    const CommandResult result = quantize(out, mix);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(types_in(out), planned) << mix[1];
  }
}

TEST_F(QuantizeTypes, EightBitsKeepThePerplexityAndBetterSolversAreNearer) {
  ASSERT_EQ(quantize("q8.gguf", {"--type", "Q8_0", "--method", "rtn"}).exit_code, 0);
  EXPECT_NEAR(perplexity("q8.gguf") / perplexity("model"), 1.0, 0.03);
  const auto mean_error = [&](const std::string& method) {
    const CommandResult result =
        quantize(method + ".gguf", {"--type", "Q4_0", "--pure", "--method", method, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return (*parse_json(result.out, "stdout"))["result"]["mean_error"].get<double>();
  };
  const double gptq = mean_error("gptq");
  EXPECT_LT(gptq, mean_error("rtn"));
  EXPECT_LT(mean_error("admm-q"), gptq);
}

TEST_F(QuantizeTypes, SameBytesForAnyNumberOfThreads) {
  const std::vector<std::string> mix = {"--type", "Q4_K_S", "--allow-fallback", "--threads"};
  for (const std::string threads : {"1", "3"}) {
    std::vector<std::string> more = mix;
    more.push_back(threads);
    ASSERT_EQ(quantize(threads + ".gguf", more).exit_code, 0);
  }
  EXPECT_TRUE(slurp(folder_ / "1.gguf") == slurp(folder_ / "3.gguf"));
}

TEST_F(QuantizeTypes, TheManifestAndTheMetadataSayWhatItIs) {
  const CommandResult result = quantize("out.gguf", {"--type", "q4_0", "--pure", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json manifest = *parse_json(result.out, "stdout");
  EXPECT_EQ(manifest["recipe"]["types"]["mix"], "Q4_0");
  EXPECT_EQ(manifest["recipe"]["types"]["pure"], true);
  EXPECT_EQ(manifest["result"]["bits_per_weight"], 4.5);
  for (const Json& t : manifest["tensors"]) {
    if (t["shape"].size() < 2) continue;
    EXPECT_EQ(t["action"], "quantised") << t;
    EXPECT_EQ(t["stored_type"], "q4_0");
  }
  const auto gguf = GgufFile::open(folder_ / "out.gguf");
  EXPECT_EQ(gguf->content().find("general.file_type")->as_int(), 2);
  EXPECT_EQ(gguf->content().find("general.quantization_version")->as_int(), 2);
}

TEST_F(QuantizeTypes, MixesOfOtherTypesAreRefusedBeforeAnyWork) {
  for (const std::string mix : {"IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"}) {
    SCOPED_TRACE(mix);
    expect_refusal(quantize("out.gguf", {"--type", mix, "--allow-fallback"}), 1,
                   {"cannot make yet", "iq2_xxs", "mxfp4"});
  }
}

TEST_F(QuantizeTypes, RefusesBeforeAnyWork) {
  expect_refusal(quantize("folder", {"--type", "Q4_0", "--pure"}), 1, {"GGUF", "q4_0", ".gguf"});
  expect_refusal(quantize("out.gguf", {"--type", "Q4_K_M"}), 1, {"--allow-fallback"});
  expect_refusal(quantize("out.gguf", {"--type", "F16"}), 1, {"F16", "convert"});
  expect_refusal(
      quantize("out.gguf", {"--type", "Q4_0", "--method", "gptq-outliers", "--outliers", "0.01"}),
      1, {"--type", "--outliers"});
  expect_refusal(quantize("out.gguf", {"--type", "Q4_0", "--pure", "--group", "64"}), 1,
                 {"--type", "--group"});
  expect_refusal(quantize("out.gguf", {"--bits", "4", "--grid", "q4_0"}), 1, {"q4_0", "--type"});
  EXPECT_EQ(quantize("out.gguf", {"--type", "Q4_0", "--bits", "4"}).exit_code, 2);
  EXPECT_EQ(quantize("out.gguf", {}).exit_code, 2);
  EXPECT_THAT(folder_.names(), ElementsAre("model", "text.txt"));
}

}  // namespace
}  // namespace coldpress::test
