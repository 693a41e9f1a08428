// coldpress eval --kl: two models side by side, and llama.cpp's own measurement of the same files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
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

class EvalKl : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(text_);
    const CommandResult pressed = run_coldpress(
        {"quantize", folder_ / "model", "--bits", "4", "--method", "rtn", "--calibration", text_,
         "--samples", "1", "--seqlen", "64", "-o", folder_ / "pressed.gguf"});
    ASSERT_EQ(pressed.exit_code, 0) << pressed.err;
    const CommandResult same = run_coldpress(
        {"convert", folder_ / "model", "-o", folder_ / "model.gguf", "--dense-type", "f32"});
    ASSERT_EQ(same.exit_code, 0) << same.err;
  }
  CommandResult kl(const fs::path& model, const fs::path& reference,
                   const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"eval",   model, "--reference", reference,       "--kl",
                                      "--text", text_, "--protocol",  "llama.cpp-512", "--windows",
                                      "2"};
    words.insert(words.end(), more.begin(), more.end());
    return run_coldpress(words);
  }
  Json kl_json(const fs::path& model, const fs::path& reference,
               std::vector<std::string> more = {}) {
    more.push_back("--json");
    const CommandResult result = kl(model, reference, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto json = parse_json(result.out, "stdout");
    EXPECT_TRUE(json.ok());
    return json.ok() ? *json : Json();
  }

  TempFolder folder_;
  fs::path text_ = folder_ / "text.txt";
};

TEST_F(EvalKl, PrintsBothDirectionsAndTheAgreement) {
  const CommandResult result = kl(folder_ / "pressed.gguf", folder_ / "model");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out,
              ContainsRegex("perplexity [0-9.]+ \\+- [0-9.]+, of the reference [0-9.]"));
  EXPECT_THAT(result.out,
              ContainsRegex("KL\\(reference \\|\\| model\\): mean 0\\.[0-9]+ \\+- 0\\."));
  EXPECT_THAT(result.out,
              ContainsRegex("KL\\(model \\|\\| reference\\): mean 0\\.[0-9]+ \\+- 0\\."));
  EXPECT_THAT(result.out, ContainsRegex("median 0\\.[0-9]+, 99 % [0-9.]+, max [0-9.]+"));
  EXPECT_THAT(result.out, ContainsRegex("top-1 agreement [0-9.]+ \\+- [0-9.]+ %"));
  EXPECT_THAT(result.out, HasSubstr("2 windows of 512 tokens, 510 scored"));
}

TEST_F(EvalKl, JsonHasTheSameForAnyThreadsAndContainer) {
  const Json json = kl_json(folder_ / "pressed.gguf", folder_ / "model", {"--threads", "1"});
  const Json again = kl_json(folder_ / "pressed.gguf", folder_ / "model.gguf", {"--threads", "2"});
  EXPECT_EQ(json["kl"],
            kl_json(folder_ / "pressed.gguf", folder_ / "model", {"--threads", "2"})["kl"]);
  EXPECT_NEAR(json["kl"]["reference_to_model"]["mean"].get<double>(),
              again["kl"]["reference_to_model"]["mean"].get<double>(), 1e-5);
  const Json& forward = json["kl"]["reference_to_model"];
  EXPECT_GT(forward["mean"], 0);
  EXPECT_GT(forward["standard_error"], 0);
  EXPECT_LT(forward["median"], forward["percentile_99"]);
  EXPECT_LT(forward["percentile_99"], forward["max"]);
  EXPECT_NE(forward["mean"], json["kl"]["model_to_reference"]["mean"]);
  EXPECT_LT(json["top1_agreement"]["mean"], 1);
  EXPECT_EQ(json["scored_tokens"], 510);
  // The same perplexities as without a reference.
  const auto alone = [&](const fs::path& model) {
    const CommandResult result = run_coldpress({"eval", model, "--text", text_, "--protocol",
                                                "llama.cpp-512", "--windows", "2", "--json"});
    return (*parse_json(result.out, "stdout"))["perplexity"];
  };
  EXPECT_EQ(json["perplexity"], alone(folder_ / "pressed.gguf"));
  EXPECT_EQ(json["reference"]["perplexity"], alone(folder_ / "model"));
}

TEST_F(EvalKl, OfAModelWithItselfIsZero) {
  const Json json = kl_json(folder_ / "pressed.gguf", folder_ / "pressed.gguf");
  EXPECT_EQ(json["kl"]["reference_to_model"]["max"], 0);
  EXPECT_EQ(json["top1_agreement"]["mean"], 1);
}

TEST_F(EvalKl, OneOptionNeedsTheOther) {
  const std::vector<std::string> words = {"eval", folder_ / "model", "--text",
                                          text_,  "--protocol",      "llama.cpp-512"};
  for (const std::vector<std::string>& half :
       {std::vector<std::string>{"--kl"}, {"--reference", folder_ / "model"}}) {
    std::vector<std::string> command = words;
    command.insert(command.end(), half.begin(), half.end());
    expect_refusal(run_coldpress(command), 2, {"--kl", "--reference"});
  }
}

TEST_F(EvalKl, RefusesAnotherTokenizer) {
  fs::copy(folder_ / "model", folder_ / "other", fs::copy_options::recursive);
  std::string tokenizer = slurp(folder_ / "other/tokenizer.json");
  const std::string merge = "\"i n\",";  // without it, "in" is two tokens
  ASSERT_NE(tokenizer.find(merge), std::string::npos);
  tokenizer.erase(tokenizer.find(merge), merge.size());
  write_file(folder_ / "other/tokenizer.json", tokenizer);
  expect_refusal(kl(folder_ / "model", folder_ / "other"), 1, {"tokenizers", "other", "differ"});
}

// llama-perplexity keeps the reference's logits with 16 bits over at most 16 nats, so each of its
// log-probabilities is off by up to 1.2e-4.
TEST_F(EvalKl, AgreesWithLlamaPerplexity) {
  const fs::path peer = fs::path(COLDPRESS_LLAMA_PREFIX) / "bin/llama-perplexity";
  if (!fs::exists(peer)) GTEST_SKIP() << peer << " is absent: scripts/build-llama --tools";
  const std::vector<std::string> common = {"-f",
                                           text_,
                                           "-c",
                                           "512",
                                           "--chunks",
                                           "2",
                                           "-t",
                                           "2",
                                           "-ctk",
                                           "f32",
                                           "-ctv",
                                           "f32",
                                           "-fa",
                                           "off",
                                           "--kl-divergence-base",
                                           folder_ / "logits"};
  const auto measure = [&](const std::string& model, const std::vector<std::string>& more) {
    std::vector<std::string> words = {peer, "-m", folder_ / model};
    words.insert(words.end(), common.begin(), common.end());
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out + result.err;
  };
  measure("model.gguf", {});
  // Its log is written by a thread that may be gone before the last lines are: then once more.
  std::string said;
  for (int attempt = 0; attempt < 5 && said.find("Same top p:") == std::string::npos; ++attempt) {
    said = measure("pressed.gguf", {"--kl-divergence"});
  }
  const auto number = [&](const std::string& label) {
    std::smatch match;
    if (!std::regex_search(said, match, std::regex(label + " *: *([0-9.]+)"))) {
      ADD_FAILURE() << "no " << label << " in\n" << said;
      return -1.0;
    }
    return std::stod(match[1]);
  };
  const Json json = kl_json(folder_ / "pressed.gguf", folder_ / "model.gguf");
  const Json& forward = json["kl"]["reference_to_model"];
  constexpr double kPrecision = 2e-4;
  EXPECT_NEAR(forward["mean"].get<double>(), number("Mean    KLD"), kPrecision);
  EXPECT_NEAR(forward["median"].get<double>(), number("Median  KLD"), kPrecision);
  EXPECT_NEAR(forward["percentile_99"].get<double>(), number("99.0%   KLD"), 5 * kPrecision);
  EXPECT_NEAR(forward["max"].get<double>(), number("Maximum KLD"), 5 * kPrecision);
  EXPECT_NEAR(100 * json["top1_agreement"]["mean"].get<double>(), number("Same top p"), 0.4);
  EXPECT_NEAR(json["perplexity"].get<double>(), number("Mean PPL\\(Q\\)"),
              1e-3 * json["perplexity"].get<double>());
}

}  // namespace
}  // namespace coldpress::test
