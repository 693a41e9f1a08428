// coldpress quantize and eval, from a folder or GGUF file to a proven result; and what they do when
// something is in the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;

class Quantize : public testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_ / "model";
    text_ = folder_ / "text.txt";
    write_tiny_model(model_);
    write_tiny_text(text_);
  }

  std::vector<std::string> command(const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"quantize",  model_,       "--calibration", text_,
                                      "--samples", "4",          "--seqlen",      "64",
                                      "-o",        folder_ / out};
    const auto has_bits = std::find(more.begin(), more.end(), "--bits") != more.end();
    if (!has_bits) more.insert(more.end(), {"--bits", "3"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  CommandResult quantize(const std::string& out, const std::vector<std::string>& more = {},
                         const CommandOptions& options = {}) {
    return run_coldpress(command(out, more), options);
  }
  // Runs with --json and returns the manifest.
  Json manifest(const std::string& out, std::vector<std::string> more = {}) {
    more.push_back("--json");
    const CommandResult result = quantize(out, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    auto json = parse_json(result.out, "stdout");
    EXPECT_TRUE(json.ok());
    return json.ok() ? *json : Json();
  }
  double perplexity(const fs::path& model) {
    const CommandResult result = run_coldpress({"eval", model, "--text", text_, "--protocol",
                                                "llama.cpp-512", "--windows", "2", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto json = parse_json(result.out, "stdout");
    return json.ok() ? (*json)["perplexity"].get<double>() : 0;
  }
  Json press_two_bits(const char* out, std::vector<std::string> more) {
    std::vector<std::string> words = {
        "quantize", model_, "--calibration", text_, "--samples",  "64",
        "--seqlen", "64",   "--bits",        "2",   "--group",    "32",
        "--method", "gptq", "--json",        "-o",  folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_coldpress(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return *parse_json(result.out, "stdout");
  }
  double divergence_on_other_text(const char* name) {
    const fs::path other = folder_ / "other.txt";
    write_tiny_text(other, 2);
    const CommandResult result =
        run_coldpress({"eval", folder_ / name, "--reference", model_, "--kl", "--text", other,
                       "--protocol", "llama.cpp-512", "--windows", "2", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return (*parse_json(result.out, "stdout"))["kl"]["reference_to_model"]["mean"].get<double>();
  }
  // Nothing but the inputs is left in the folder.
  void expect_no_output() { EXPECT_THAT(folder_.names(), ElementsAre("model", "text.txt")); }

  TempFolder folder_;
  fs::path model_;
  fs::path text_;
};

// Text that neither run was calibrated on.
TEST_F(Quantize, PropagatedErrorsLeaveTheModelCloserToItsSource) {
  const Json on = press_two_bits("on", {"--propagate"});
  const Json off = press_two_bits("off", {"--no-propagate"});
  EXPECT_EQ(on["recipe"]["propagate"], true);
  EXPECT_EQ(off["recipe"]["propagate"], false);
  EXPECT_EQ(on["flops"]["forward"].get<double>(), 2 * off["flops"]["forward"].get<double>());
  EXPECT_LT(divergence_on_other_text("on"), 0.95 * divergence_on_other_text("off"));
}

// The first linear's: 10 x 128 columns / 4096 tokens.
TEST_F(Quantize, HessiansAreShrunkByTheNumberOfTokens) {
  const Json usual = press_two_bits("usual", {});
  const Json same = press_two_bits("same", {"--shrinkage", "0.3125"});
  const Json raw = press_two_bits("raw", {"--shrinkage", "0"});
  EXPECT_TRUE(usual["recipe"]["shrinkage"].is_null());
  EXPECT_EQ(raw["recipe"]["shrinkage"], 0);
  const auto first = [](const Json& manifest) {
    for (const Json& tensor : manifest["tensors"]) {
      if (tensor["name"] == "model.layers.0.self_attn.q_proj.weight") return tensor;
    }
    return Json();
  };
  EXPECT_FALSE(first(usual).is_null());
  EXPECT_EQ(first(usual), first(same));
  EXPECT_NE(first(usual), first(raw));
}

TEST_F(Quantize, ShrinkageIsAShare) {
  expect_refusal(run_coldpress({"quantize", model_, "--calibration", text_, "--bits", "4",
                                "--shrinkage", "1.5", "-o", folder_ / "out"}),
                 2, {"--shrinkage", "1.5"});
}

TEST_F(Quantize, WritesAFolderThatHoldsEverything) {
  const CommandResult result = quantize("out");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("by admm-q"));
  EXPECT_EQ(result.err, "");
  // config.json states the stored type; every other file is the source's.
  for (const char* sidecar : {"tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_EQ(slurp(folder_ / "out" / sidecar), slurp(model_ / sidecar)) << sidecar;
  }
  const CommandResult inspected = run_coldpress({"inspect", folder_ / "out"});
  EXPECT_THAT(inspected.out, ContainsRegex("down_proj.weight +F16 +128x256"));
  EXPECT_THAT(inspected.out, ContainsRegex("model.norm.weight +F32 +128"));
}

TEST_F(Quantize, WritesAGgufFileThatEvaluatesLikeTheFolder) {
  const std::vector<std::string> exact = {"--method", "gptq", "--dense-type", "f32"};
  ASSERT_EQ(quantize("out", exact).exit_code, 0);
  ASSERT_EQ(quantize("out.gguf", exact).exit_code, 0);
  const double folder = perplexity(folder_ / "out");
  EXPECT_GT(folder, 1.0);
  EXPECT_NEAR(perplexity(folder_ / "out.gguf") / folder, 1.0, 1e-5);
}

TEST_F(Quantize, ReadsItsOwnGgufAgain) {
  ASSERT_EQ(quantize("first.gguf").exit_code, 0);
  model_ = folder_ / "first.gguf";
  const CommandResult again = quantize("second.gguf", {"--bits", "8"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
}

TEST_F(Quantize, OutputsAreTheSameBytesForAnyNumberOfThreads) {
  for (const char* method : {"rtn", "gptq", "quantease", "admm-q"}) {
    const std::string name(method);
    const CommandResult one = quantize(name + "1.gguf", {"--method", name, "--threads", "1"});
    const CommandResult three = quantize(name + "3.gguf", {"--method", name, "--threads", "3"});
    ASSERT_EQ(one.exit_code + three.exit_code, 0) << one.err << three.err;
    EXPECT_TRUE(slurp(folder_ / (name + "1.gguf")) == slurp(folder_ / (name + "3.gguf"))) << name;
  }
}

TEST_F(Quantize, TheManifestTellsWhatHappened) {
  const Json json = manifest("out");
  EXPECT_EQ(json["tensors"].size(), 21u);
  EXPECT_TRUE(json["dropped"].empty());
  EXPECT_EQ(json["source"]["architecture"], "llama");
  EXPECT_EQ(json["source"]["already_quantised"], false);
  EXPECT_EQ(json["calibration"]["tokens"], 4 * 64);
  const double error = json["result"]["mean_error"];
  EXPECT_GT(error, 0);
  EXPECT_LE(error, json["result"]["mean_rtn_error"].get<double>());
  EXPECT_GE(error, json["result"]["mean_bound"].get<double>());
  EXPECT_GT(json["peak_rss_bytes"], 0);
  for (const auto& tensor : json["tensors"]) {
    if (tensor["action"] != "quantised") continue;
    EXPECT_EQ(tensor["stored_type"], "F16");
    EXPECT_EQ(tensor["calibration_tokens"], 4 * 64);
  }
}

// Each option, one at a time, against the default.
TEST_F(Quantize, EveryOptionChangesTheOutput) {
  const std::map<std::string, std::vector<std::string>> changes = {
      {"bits", {"--bits", "4"}},        {"group", {"--group", "32"}},
      {"method", {"--method", "gptq"}}, {"clip", {"--clip", "none"}},
      {"symmetric", {"--symmetric"}},   {"dense-type", {"--dense-type", "f32"}},
      {"effort", {"--effort", "1"}},    {"samples", {"--samples", "5"}},
      {"seqlen", {"--seqlen", "65"}},
  };
  ASSERT_EQ(quantize("default").exit_code, 0);
  const std::string weights = slurp(folder_ / "default/model.safetensors");
  for (const auto& [name, option] : changes) {
    std::vector<std::string> words = command(name, option);
    // An option given twice is an error: drop the test's own value.
    for (const char* own : {"--samples", "--seqlen"}) {
      if (option[0] != own) continue;
      words.erase(std::find(words.begin(), words.end(), own),
                  std::find(words.begin(), words.end(), own) + 2);
    }
    const CommandResult result = run_coldpress(words);
    ASSERT_EQ(result.exit_code, 0) << name << ": " << result.err;
    EXPECT_FALSE(slurp(folder_ / name / "model.safetensors") == weights) << name;
  }
}

TEST_F(Quantize, RefitChangesTheOutputOfGptq) {
  ASSERT_EQ(quantize("plain", {"--method", "gptq"}).exit_code, 0);
  ASSERT_EQ(quantize("refit", {"--method", "gptq", "--refit", "1"}).exit_code, 0);
  EXPECT_FALSE(slurp(folder_ / "plain/model.safetensors") ==
               slurp(folder_ / "refit/model.safetensors"));
}

TEST_F(Quantize, AnotherTextGivesAnotherOutput) {
  ASSERT_EQ(quantize("one").exit_code, 0);
  write_tiny_text(text_, 2);
  ASSERT_EQ(quantize("two").exit_code, 0);
  EXPECT_FALSE(slurp(folder_ / "one/model.safetensors") ==
               slurp(folder_ / "two/model.safetensors"));
}

TEST_F(Quantize, CalibrationOnAFileThatIsNoTextIsRefused) {
  write_file(folder_ / "weights.txt", slurp(model_ / "model.safetensors"));
  expect_refusal(run_coldpress({"quantize", model_, "--bits", "3", "--calibration",
                                folder_ / "weights.txt", "-o", folder_ / "out"}),
                 1, {"weights.txt", "this is not a text", "NUL"});
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Quantize, MixesSourcesByWeightAndSeed) {
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "{\"text\": \"the cold press makes oil\"}\n";
  write_file(folder_ / "more.jsonl", lines);
  const std::string mixed = text_.string() + ":3," + (folder_ / "more.jsonl").string() + ":1";
  const std::vector<std::string> words = {
      "quantize", model_, "--bits",        "3",   "--method", "rtn", "--samples", "4",
      "--seqlen", "64",   "--calibration", mixed, "--json"};
  const auto run = [&](const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> all = words;
    all.insert(all.end(), more.begin(), more.end());
    all.insert(all.end(), {"-o", folder_ / out});
    const CommandResult result = run_coldpress(all);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(result.out, "stdout").value()["calibration"];
  };
  const Json first = run("one", {});
  EXPECT_EQ(first["sources"][0]["windows"], 3);
  EXPECT_EQ(first["sources"][1]["windows"], 1);
  EXPECT_EQ(first["sources"][1]["kind"], "texts");
  EXPECT_TRUE(first["seed"].is_null());
  const Json seeded = run("two", {"--seed", "5"});
  EXPECT_EQ(seeded["seed"], 5);
  EXPECT_NE(seeded["sketch"], first["sketch"]);
  const CommandResult plan = run_coldpress({"plan", model_, "--bits", "3", "--calibration", mixed});
  EXPECT_THAT(plan.out, HasSubstr("more.jsonl (weight 1)"));
}

TEST_F(Quantize, EvalTellsOfTextThatWasCalibratedOn) {
  const fs::path other = folder_ / "other.txt";
  write_tiny_text(other, 2);
  for (const std::string out : {"out", "out.gguf"}) {
    ASSERT_EQ(quantize(out, {"--method", "rtn"}).exit_code, 0);
    const auto eval = [&](const fs::path& text) {
      return run_coldpress({"eval", folder_ / out, "--text", text, "--protocol", "llama.cpp-512",
                            "--windows", "1", "--json"});
    };
    const CommandResult same = eval(text_);
    EXPECT_THAT(same.err, HasSubstr("warning: 100.0 % of the text"));
    const Json overlap = parse_json(same.out, "stdout").value()["calibration_overlap"];
    EXPECT_EQ(overlap["same_file"], true);
    EXPECT_EQ(overlap["share_of_calibration"], 1.0);
    EXPECT_EQ(eval(other).err, "");
  }
}

TEST_F(Quantize, APreTokenizerCanBeNamed) {
  Json tokenizer = parse_json(slurp(model_ / "tokenizer.json"), "t").value();
  tokenizer["pre_tokenizer"] = {{"type", "Whitespace"}};
  write_file(model_ / "tokenizer.json", tokenizer.dump());
  expect_refusal(quantize("out.gguf"), 1, {"--tokenizer-pre"});
  expect_refusal(quantize("out.gguf", {"--tokenizer-pre", "gpt-3"}), 1, {"gpt-3", "llama-bpe"});
  const CommandResult result =
      quantize("out.gguf", {"--method", "rtn", "--tokenizer-pre", "gpt-2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const CommandResult eval =
      run_coldpress({"eval", model_, "--text", text_, "--protocol", "llama.cpp-512", "--windows",
                     "1", "--tokenizer-pre", "gpt-2"});
  EXPECT_EQ(eval.exit_code, 0) << eval.err;
}

TEST_F(Quantize, ShowsABarOnATerminalOnly) {
  const CommandResult result = quantize("out", {}, {.environment = {}, .stderr_is_terminal = true});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("pressing [##"));
  EXPECT_THAT(result.err, HasSubstr("100%"));
}

TEST_F(Quantize, RefusesAMissingModel) {
  model_ = folder_ / "nowhere";
  expect_refusal(quantize("out"), 1, {"nowhere"});
  expect_no_output();
}

TEST_F(Quantize, RefusesAnUnknownArchitecture) {
  std::string config = slurp(model_ / "config.json");
  config.replace(config.find("\"llama\""), 7, "\"llamb\"");
  write_file(model_ / "config.json", config);
  expect_refusal(quantize("out"), 1, {"llamb", "llama", "qwen3"});
  expect_no_output();
}

TEST_F(Quantize, RefusesATruncatedSafetensors) {
  fs::resize_file(model_ / "model.safetensors", 100'000);
  expect_refusal(quantize("out"), 1, {"model.safetensors"});
  expect_no_output();
}

TEST_F(Quantize, RefusesAHostileGguf) {
  model_ = folder_ / "model" / "evil.gguf";
  write_file(model_, std::string("GGUF\x03\0\0\0", 8) + std::string(16, '\xff'));
  expect_refusal(quantize("out"), 1, {"evil.gguf"});
  expect_no_output();
}

TEST_F(Quantize, RefusesAGroupThatDoesNotDivide) {
  expect_refusal(quantize("out", {"--group", "48"}), 1, {"48", "divide"});
  expect_no_output();
}

TEST_F(Quantize, RefusesTooShortAText) {
  write_file(text_, "too short");
  expect_refusal(quantize("out"), 1, {"text.txt"});
  expect_no_output();
}

TEST_F(Quantize, RefusesAModelWithoutATokenizer) {
  fs::remove(model_ / "tokenizer.json");
  expect_refusal(quantize("out"), 1, {"tokenizer.json"});
  expect_no_output();
}

TEST_F(Quantize, RefusesAnOutputThatExists) {
  write_file(folder_ / "out/file", "mine");
  expect_refusal(quantize("out"), 1, {"out", "exists"});
  EXPECT_EQ(slurp(folder_ / "out/file"), "mine");
}

TEST_F(Quantize, RefusesAnOutputFolderThatIsNotThere) {
  expect_refusal(quantize("no/such/folder.gguf"), 1, {"no/such"});
  expect_no_output();
}

TEST_F(Quantize, RefusesAnOutputThatCannotBeWritten) {
  // Not even root can create files there.
  for (const char* out : {"/proc/out", "/proc/out.gguf"}) {
    expect_refusal(quantize(out), 1, {"/proc/out"});
  }
  expect_no_output();
}

TEST_F(Quantize, AFullDiskLeavesNothingBehind) {
  for (const char* out : {"out", "out.gguf"}) {
    const CommandResult result = quantize(out, {}, {.environment = {}, .file_size_limit = 20'000});
    expect_refusal(result, 1, {out});
    expect_no_output();
  }
}

TEST_F(Quantize, EvalRefusesAnUnknownProtocolAndListsTheKnown) {
  expect_refusal(run_coldpress({"eval", model_, "--text", text_, "--protocol", "mine"}), 1,
                 {"mine", "gptq-2048", "llama.cpp-512"});
}

TEST_F(Quantize, EvalRefusesATextShorterThanAWindow) {
  write_file(text_, "too short");
  expect_refusal(run_coldpress({"eval", model_, "--text", text_, "--protocol", "gptq-2048"}), 1,
                 {"2048"});
}

TEST_F(Quantize, EvalWindowsAndThreadsDoWhatTheySay) {
  const auto eval = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"eval",       model_,          "--text", text_,
                                      "--protocol", "llama.cpp-512", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_coldpress(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return *parse_json(result.out, "stdout");
  };
  const Json one = eval({"--windows", "1", "--threads", "1"});
  const Json two = eval({"--windows", "1", "--threads", "2"});
  const Json all = eval({});
  EXPECT_EQ(one["windows"], 1);
  EXPECT_GT(all["windows"], 1);
  EXPECT_EQ(one["perplexity"], two["perplexity"]);
  EXPECT_NE(one["perplexity"], all["perplexity"]);
}

}  // namespace
}  // namespace coldpress::test
