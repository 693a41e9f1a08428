// coldpress imatrix and quantize --imatrix, beside llama.cpp's own tools.
#include "hessian/imatrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

fs::path llama_tool(const std::string& name) {
  return fs::path(COLDPRESS_LLAMA_PREFIX) / "bin" / name;
}

class ImatrixVerb : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_text(text_);
    write_tiny_model(folder_ / "model");
    run({"convert", folder_ / "model", "-o", folder_ / "model.gguf", "--dense-type", "f32"});
  }
  void run(const std::vector<std::string>& words) {
    const CommandResult result = run_coldpress(words);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  void measure(const std::string& model, const std::string& out,
               const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {
        "imatrix", folder_ / model, "--calibration", text_, "--samples", "4", "--seqlen", "64",
        "-o",      folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    run(words);
  }
  // Entries, counts, and sums within fp32's rounding.
  void expect_same_as_llama_imatrix(const std::string& model) {
    measure(model, "ours.gguf");
    const CommandResult peer = run_command({llama_tool("llama-imatrix"),
                                            "-m",
                                            folder_ / model,
                                            "-f",
                                            text_,
                                            "-c",
                                            "64",
                                            "--chunks",
                                            "4",
                                            "--no-ppl",
                                            "-ctk",
                                            "f32",
                                            "-ctv",
                                            "f32",
                                            "-fa",
                                            "off",
                                            "-t",
                                            "2",
                                            "-o",
                                            folder_ / "theirs.gguf"});
    ASSERT_EQ(peer.exit_code, 0) << peer.err;
    const auto ours = read_imatrix(folder_ / "ours.gguf");
    const auto theirs = read_imatrix(folder_ / "theirs.gguf");
    ASSERT_TRUE(ours.ok()) << ours.status().message();
    ASSERT_TRUE(theirs.ok()) << theirs.status().message();
    EXPECT_EQ(ours->chunks, theirs->chunks);
    EXPECT_EQ(ours->chunk_size, theirs->chunk_size);
    EXPECT_EQ(ours->entries.size(), theirs->entries.size());
    for (const ImatrixEntry& expected : theirs->entries) {
      const ImatrixEntry* entry = ours->find(expected.tensor);
      ASSERT_NE(entry, nullptr) << expected.tensor;
      EXPECT_EQ(entry->columns, expected.columns) << expected.tensor;
      EXPECT_EQ(entry->counts, expected.counts) << expected.tensor;
      ASSERT_EQ(entry->sums.size(), expected.sums.size()) << expected.tensor;
      const float largest = *std::max_element(expected.sums.begin(), expected.sums.end());
      for (std::size_t i = 0; i < expected.sums.size(); ++i) {
        EXPECT_NEAR(entry->sums[i], expected.sums[i], 1e-4 * expected.sums[i] + 1e-5 * largest)
            << expected.tensor << " " << i;
      }
    }
  }

  TempFolder folder_;
  fs::path text_ = folder_ / "text.txt";
};

TEST_F(ImatrixVerb, EqualsLlamaImatrix) {
  if (!fs::exists(llama_tool("llama-imatrix"))) GTEST_SKIP() << "scripts/build-llama --tools";
  expect_same_as_llama_imatrix("model.gguf");
}

TEST_F(ImatrixVerb, EqualsLlamaImatrixForExperts) {
  if (!fs::exists(llama_tool("llama-imatrix"))) GTEST_SKIP() << "scripts/build-llama --tools";
  const fs::path tiny = fs::path(COLDPRESS_SHARED_DATA) / "tiny/qwen3-moe";
  if (!fs::exists(tiny)) GTEST_SKIP() << tiny << " is absent";
  fs::create_directory(folder_ / "experts");
  for (const char* file : {"config.json", "model.safetensors"}) {
    fs::copy_file(tiny / file, folder_ / "experts" / file);
  }
  write_file(folder_ / "experts/tokenizer.json", byte_level_json().dump());
  write_file(folder_ / "experts/tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  run({"convert", folder_ / "experts", "-o", folder_ / "experts.gguf", "--dense-type", "f32"});
  expect_same_as_llama_imatrix("experts.gguf");
}

// Types of two bits need an imatrix with an entry for each tensor, or llama-quantize gives up; and
// the types of what it writes are those of the plan.
TEST_F(ImatrixVerb, LlamaQuantizeTakesItAndChoosesThePlannedTypes) {
  if (!fs::exists(llama_tool("llama-quantize"))) GTEST_SKIP() << "scripts/build-llama --tools";
  measure("model.gguf", "i.gguf");
  for (const std::string mix : {"IQ2_XS", "Q4_K_M"}) {
    const fs::path out = folder_ / (mix + ".gguf");
    const CommandResult result =
        run_command({llama_tool("llama-quantize"), "--imatrix", folder_ / "i.gguf",
                     folder_ / "model.gguf", out, mix});
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
    EXPECT_THAT(result.out + result.err, HasSubstr("importance matrix"));
    EXPECT_THAT(result.out + result.err, Not(HasSubstr("did not find weights for blk")));
    const auto file = GgufFile::open(out);
    ASSERT_TRUE(file.ok());
    const CommandResult plan = run_coldpress(
        {"plan", folder_ / "model.gguf", "--type", mix, "--allow-fallback", "--json"});
    const Json planned = *parse_json(plan.out, "stdout");
    EXPECT_EQ(file->content().tensors.size(), planned["tensors"].size());
    for (const Json& row : planned["tensors"]) {
      const GgufTensor* tensor = file->content().find_tensor(row["name"]);
      ASSERT_NE(tensor, nullptr) << row;
      EXPECT_EQ(ggml_type_info(tensor->ggml_type)->name, row["type"]) << row;
      EXPECT_EQ(tensor->data.size(), row["bytes"].get<uint64_t>()) << row;
    }
  }
}

TEST_F(ImatrixVerb, TellsWhatItMeasured) {
  const CommandResult result =
      run_coldpress({"imatrix", folder_ / "model", "--calibration", text_, "--samples", "3",
                     "--seqlen", "50", "--seed", "2", "--json", "-o", folder_ / "i.gguf"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = *parse_json(result.out, "stdout");
  EXPECT_EQ(json["entries"], kTinyLinears);
  EXPECT_EQ(json["tokens"], 150);
  const auto read = read_imatrix(folder_ / "i.gguf");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->chunks, 3);
  EXPECT_EQ(read->chunk_size, 50);
}

TEST_F(ImatrixVerb, OptionsMatter) {
  measure("model", "first.gguf");
  measure("model", "one.gguf", {"--threads", "1"});
  measure("model", "seeded.gguf", {"--seed", "3"});
  EXPECT_EQ(slurp(folder_ / "first.gguf"), slurp(folder_ / "one.gguf"));
  EXPECT_NE(slurp(folder_ / "first.gguf"), slurp(folder_ / "seeded.gguf"));
}

TEST_F(ImatrixVerb, RefusesWhatItCannotDo) {
  write_file(folder_ / "there.gguf", "mine");
  const auto imatrix = [&](const std::string& model, const std::string& seqlen,
                           const std::string& out) {
    return run_coldpress({"imatrix", model, "--calibration", text_, "--samples", "1", "--seqlen",
                          seqlen, "-o", folder_ / out});
  };
  expect_refusal(imatrix(folder_ / "model", "64", "there.gguf"), 1, {"there.gguf", "exists"});
  expect_refusal(imatrix(folder_ / "model", "4096", "i.gguf"), 1, {"4096", "2048"});
  expect_refusal(imatrix(folder_ / "nowhere", "64", "i.gguf"), 1, {"nowhere"});
  EXPECT_FALSE(fs::exists(folder_ / "i.gguf"));
}

TEST_F(ImatrixVerb, QuantizeNeedsNoTextWithIt) {
  measure("model", "i.gguf");
  const auto quantize = [&](const std::string& method, const std::string& out) {
    const CommandResult result =
        run_coldpress({"quantize", folder_ / "model", "--bits", "3", "--method", method,
                       "--imatrix", folder_ / "i.gguf", "--json", "-o", folder_ / out});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return *parse_json(result.out, "stdout");
  };
  const Json json = quantize("gptq", "out.gguf");
  EXPECT_EQ(json["calibration"]["entries"], kTinyLinears);
  EXPECT_EQ(json["calibration"]["tokens"], 256);
  EXPECT_EQ(json["flops"]["forward"], 0);
  for (const Json& tensor : json["tensors"]) {
    if (tensor["action"] != "quantised") continue;
    EXPECT_EQ(tensor["calibration_tokens"], 256);
    EXPECT_LE(tensor["error"], 1.001 * tensor["rtn_error"].get<double>());
  }
  EXPECT_LE(quantize("admm-q", "better.gguf")["result"]["mean_error"],
            json["result"]["mean_error"].get<double>());
  run({"quantize", folder_ / "model", "--type", "Q4_0", "--pure", "--method", "gptq", "--imatrix",
       folder_ / "i.gguf", "-o", folder_ / "blocks.gguf"});
  const CommandResult plan =
      run_coldpress({"plan", folder_ / "model", "--bits", "3", "--imatrix", folder_ / "i.gguf"});
  EXPECT_THAT(plan.out, HasSubstr("4 windows of 64 tokens"));
}

TEST_F(ImatrixVerb, QuantizeRefusesABadOne) {
  const auto quantize = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"quantize", folder_ / "model",   "--bits", "3",
                                      "-o",       folder_ / "out.gguf"};
    words.insert(words.end(), more.begin(), more.end());
    return run_coldpress(words);
  };
  expect_refusal(quantize({"--imatrix", folder_ / "nowhere.gguf"}), 1, {"nowhere.gguf"});
  expect_refusal(quantize({"--imatrix", folder_ / "model.gguf"}), 1, {"no imatrix"});
  expect_refusal(quantize({"--imatrix", "x", "--samples", "3"}), 2, {"--imatrix", "--samples"});
  Imatrix other;
  other.entries = {{"blk.0.attn_q.weight", 4, {1, 1, 1, 1}, {9}}};
  ASSERT_TRUE(write_imatrix(folder_ / "other.gguf", other).ok());
  expect_refusal(quantize({"--imatrix", folder_ / "other.gguf"}), 1,
                 {"other.gguf", "blk.0.attn_q.weight", "another model"});
  EXPECT_FALSE(fs::exists(folder_ / "out.gguf"));
}

}  // namespace
}  // namespace coldpress::test
