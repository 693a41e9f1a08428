// coldpress inspect, and how it meets files that are not what they should be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Inspect : public testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_ / "model";
    write_tiny_model(model_);
  }
  TempFolder folder_;
  fs::path model_;
};

TEST_F(Inspect, ShowsConfigurationTensorsAndTotals) {
  const CommandResult result = run_coldpress({"inspect", model_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("architecture: llama\n"));
  EXPECT_THAT(result.out, HasSubstr("hidden: 128\n"));
  EXPECT_THAT(result.out,
              testing::ContainsRegex(
                  "model.layers.1.mlp.down_proj.weight +F32 +128x256 +131072  ffn_down\n"));
  EXPECT_THAT(result.out, testing::ContainsRegex("\nall +21 +[0-9]+ "));
}

TEST_F(Inspect, JsonNamesTheRoleOfEveryLinear) {
  const CommandResult result = run_coldpress({"inspect", model_, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = parse_json(result.out, "stdout");
  ASSERT_TRUE(json.ok()) << json.status().message();
  int linears = 0;
  for (const auto& tensor : (*json)["tensors"]) linears += tensor.contains("role") ? 1 : 0;
  EXPECT_EQ(linears, kTinyLinears);
  EXPECT_EQ((*json)["totals"]["tensors"], 21);
  EXPECT_EQ((*json)["about"]["architecture"], "llama");
}

TEST_F(Inspect, ReadsASingleTensorFile) {
  const CommandResult result = run_coldpress({"inspect", model_ / "model.safetensors"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, testing::ContainsRegex("lm_head.weight +F32 +264x128 +135168\n"));
}

TEST_F(Inspect, RefusesAMissingPath) {
  expect_refusal(run_coldpress({"inspect", folder_ / "nowhere"}), 1, {"nowhere"});
}

TEST_F(Inspect, RefusesATruncatedSafetensors) {
  fs::resize_file(model_ / "model.safetensors", 100'000);
  expect_refusal(run_coldpress({"inspect", model_}), 1, {"model.safetensors"});
}

TEST_F(Inspect, RefusesAHostileGguf) {
  // Version 3, no tensors, and more metadata than any file could hold.
  std::string bytes("GGUF\x03\0\0\0", 8);
  bytes += std::string(8, '\0') + std::string(8, '\xff');
  write_file(folder_ / "evil.gguf", bytes);
  expect_refusal(run_coldpress({"inspect", folder_ / "evil.gguf"}), 1, {"evil.gguf"});
}

TEST_F(Inspect, AnUnknownArchitectureListsTheKnown) {
  std::string config = slurp(model_ / "config.json");
  config.replace(config.find("\"llama\""), 7, "\"llamb\"");
  write_file(model_ / "config.json", config);
  expect_refusal(run_coldpress({"inspect", model_}), 1,
                 {"llamb", "llama", "qwen2", "qwen3", "gemma3"});
}

TEST_F(Inspect, RefusesAFolderWithoutAConfiguration) {
  fs::remove(model_ / "config.json");
  expect_refusal(run_coldpress({"inspect", model_}), 1, {"config.json"});
}

}  // namespace
}  // namespace coldpress::test
