// coldpress convert: from a folder to GGUF and back, whole and in parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
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

class Convert : public testing::Test {
 protected:
  void SetUp() override { write_tiny_model(folder_ / "model"); }
  CommandResult convert(const std::string& in, const std::string& out,
                        const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"convert", folder_ / in, "-o", folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    return run_coldpress(words);
  }
  std::string inspect(const std::string& name) {
    return run_coldpress({"inspect", folder_ / name}).out;
  }
  TempFolder folder_;
};

TEST_F(Convert, ToGgufAndBackIsTheSameFolder) {
  const CommandResult there = convert("model", "model.gguf");
  ASSERT_EQ(there.exit_code, 0) << there.err;
  EXPECT_THAT(there.out, HasSubstr("21 tensors"));
  EXPECT_THAT(inspect("model.gguf"), ContainsRegex("blk.0.ffn_up.weight +f32"));
  ASSERT_EQ(convert("model.gguf", "again").exit_code, 0);
  ASSERT_EQ(convert("again", "again.gguf").exit_code, 0);
  const Json manifest = *parse_json(slurp(folder_ / "again.gguf.coldpress.json"), "manifest");
  EXPECT_EQ(manifest["tensors"].size(), 21u);
  EXPECT_EQ(manifest["recipe"]["method"], "convert");
  EXPECT_EQ(manifest["threads"], 1);
  EXPECT_GT(manifest["peak_rss_bytes"], 1 << 20);
  EXPECT_GT(manifest["seconds"]["command"], 0.0);
}

TEST_F(Convert, DenseTypeStoresEveryMatrix) {
  ASSERT_EQ(convert("model", "a.gguf", {"--dense-type", "bf16"}).exit_code, 0);
  EXPECT_THAT(inspect("a.gguf"), ContainsRegex("token_embd.weight +bf16"));
  ASSERT_EQ(convert("model", "b", {"--dense-type", "f16"}).exit_code, 0);
  EXPECT_THAT(inspect("b"), ContainsRegex("model.embed_tokens.weight +F16"));
  EXPECT_THAT(inspect("b"), ContainsRegex("model.norm.weight +F32"));
  ASSERT_EQ(convert("a.gguf", "c.gguf", {"--dense-type", "f32"}).exit_code, 0);
  EXPECT_THAT(inspect("c.gguf"), ContainsRegex("token_embd.weight +f32"));
}

TEST_F(Convert, SplitsAndJoins) {
  ASSERT_EQ(convert("model", "one.gguf").exit_code, 0);
  const CommandResult split = convert("model", "many.gguf", {"--split-max-size", "500K"});
  ASSERT_EQ(split.exit_code, 0) << split.err;
  fs::path last;
  for (const std::string& name : folder_.names()) {
    if (name.starts_with("many-")) last = name;
  }
  ASSERT_FALSE(last.empty());
  ASSERT_EQ(convert(last, "joined.gguf").exit_code, 0);
  EXPECT_EQ(inspect("joined.gguf"), inspect("one.gguf"));
}

TEST_F(Convert, QuantizeSplitsToo) {
  write_tiny_text(folder_ / "text.txt");
  const CommandResult result =
      run_coldpress({"quantize", folder_ / "model", "--bits", "4", "--method", "rtn",
                     "--calibration", folder_ / "text.txt", "--samples", "1", "--seqlen", "64",
                     "--split-max-size", "200K", "-o", folder_ / "out.gguf"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(folder_ / "out.gguf"));
  int parts = 0;
  for (const std::string& name : folder_.names()) parts += name.starts_with("out-0") ? 1 : 0;
  EXPECT_GE(parts, 2);
}

TEST_F(Convert, ThePreTokenizerCanBeNamed) {
  ASSERT_EQ(convert("model", "model.gguf").exit_code, 0);
  const auto pre_tokenizer = [&](const std::string& out, const std::vector<std::string>& more) {
    const CommandResult result = convert("model.gguf", out, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto json = parse_json(slurp(folder_ / out / "tokenizer.json"), out);
    return json.ok() ? (*json)["pre_tokenizer"] : Json();
  };
  const Json own = pre_tokenizer("own", {});
  const Json named = pre_tokenizer("named", {"--tokenizer-pre", "falcon"});
  EXPECT_NE(own, named);
  EXPECT_EQ(named["pretokenizers"][0]["type"], "Punctuation");
  expect_refusal(convert("model.gguf", "none", {"--tokenizer-pre", "nonsense"}), 1, {"nonsense"});
}

TEST_F(Convert, RefusesWhatIsNoSize) {
  for (const char* size : {"0", "2T", "G", "-1", "1,5G", "2GB", "99999999999999999999"}) {
    expect_refusal(convert("model", "x.gguf", {"--split-max-size", size}), 2, {size});
  }
}

TEST_F(Convert, PrintsTheManifest) {
  const CommandResult result = convert("model", "x.gguf", {"--json"});
  const auto json = parse_json(result.out, "stdout");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["recipe"]["dense_type"], "F32");
}

}  // namespace
}  // namespace coldpress::test
