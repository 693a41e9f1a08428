// benchmarks/gguf on a tiny model: the peer's side, and what it must notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;

class GgufBenchmark : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* tool : {"llama-quantize", "llama-imatrix", "llama-perplexity"}) {
      const fs::path path = fs::path(COLDPRESS_LLAMA_PREFIX) / "bin" / tool;
      if (!fs::exists(path)) GTEST_SKIP() << path << " is absent: scripts/build-llama --tools";
    }
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }
  CommandResult bench(const std::vector<std::string>& more) {
    std::vector<std::string> words = {fs::path(COLDPRESS_SOURCE_DIR) / "benchmarks/gguf",
                                      "--coldpress",
                                      COLDPRESS_BINARY,
                                      "--model",
                                      folder_ / "model",
                                      "--calibration",
                                      folder_ / "text.txt",
                                      "--text",
                                      folder_ / "text.txt",
                                      "--samples",
                                      "4",
                                      "--seqlen",
                                      "64",
                                      "--chunks",
                                      "2"};
    words.insert(words.end(), more.begin(), more.end());
    return run_command(words);
  }
  TempFolder folder_;
};

TEST_F(GgufBenchmark, PrintsThePeersSide) {
  const CommandResult result = bench({"--peer-only", "Q4_0", "Q8_0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("2 chunks of 512"));
  EXPECT_THAT(result.out, HasSubstr("4 x 64 tokens"));
  EXPECT_THAT(result.out,
              ContainsRegex("Q4_0 +llama.cpp +[0-9]+ +[0-9]+ +[0-9.]+ ± [0-9.]+ +[0-9.]+ "
                            "± [0-9.]+"));
  EXPECT_THAT(result.out, ContainsRegex("Q8_0 +llama.cpp"));
}

TEST_F(GgufBenchmark, SaysWhichCommandFailed) {
  const CommandResult result = bench({"--peer-only", "Q9_0"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("llama-quantize"));
}

}  // namespace
}  // namespace coldpress::test
