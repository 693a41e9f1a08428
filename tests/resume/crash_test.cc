// kill -9 at any instant: the same command goes on, to the same bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kCrashes = 20;
constexpr int kKilled = 128 + 9;

class Crash : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }
  std::vector<std::string> command(const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"quantize",
                                      folder_ / "model",
                                      "--calibration",
                                      folder_ / "text.txt",
                                      "--samples",
                                      "16",
                                      "--seqlen",
                                      "64",
                                      "--bits",
                                      "3",
                                      "--group",
                                      "32",
                                      "-o",
                                      folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  // Kills runs until kCrashes were killed, whatever they were doing. Each that comes to its end is
  // compared and its output removed.
  void expect_survival(const std::string& out, const std::string& weights, uint64_t seed) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(run_coldpress(command("whole" + out)).exit_code, 0);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const std::string wanted = slurp(folder_ / ("whole" + out + weights));
    ASSERT_FALSE(wanted.empty());
    const fs::path path = folder_ / ("parts" + out);
    Rng rng(seed);
    int kills = 0;
    bool is_last_complete = false;
    for (int runs = 0; kills < kCrashes || !is_last_complete; ++runs) {
      ASSERT_LT(runs, 400);
      CommandOptions options;
      is_last_complete = false;
      if (kills < kCrashes) options.kill_after = 1.1 * seconds * rng.uniform();
      const CommandResult result = run_coldpress(command("parts" + out), options);
      if (result.exit_code == kKilled) {
        ++kills;
        if (!fs::exists(path)) continue;
        // What has the name is whole: the kill came when the work was done, or nearly gone.
        EXPECT_TRUE(wanted == slurp(path.string() + weights));
        fs::remove_all(path.string() + ".work");
        fs::remove_all(path);
        fs::remove(path.string() + ".coldpress.json");
        continue;
      }
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_TRUE(wanted == slurp(path.string() + weights));
      is_last_complete = true;
      fs::remove_all(path);
      fs::remove(path.string() + ".coldpress.json");
    }
    fs::remove_all(folder_ / ("whole" + out));
    fs::remove(folder_ / ("whole" + out + ".coldpress.json"));
    EXPECT_THAT(folder_.names(), ElementsAre("model", "text.txt"));
  }

  TempFolder folder_;
};

TEST_F(Crash, AFolderIsTheSameAfterKills) { expect_survival("", "/model.safetensors", 1); }

TEST_F(Crash, AGgufFileIsTheSameAfterKills) { expect_survival(".gguf", "", 2); }

// The disk is full, in effect, when the journal has grown so far.
TEST_F(Crash, AFullDiskKeepsTheWork) {
  const std::vector<std::string> small = {"--shard-size", "100K"};
  CommandResult result;
  CommandOptions options;
  for (uint64_t limit = 20'000; limit < 2'000'000; limit += 20'000) {
    options.file_size_limit = limit;
    result = run_coldpress(command("out", small), options);
    if (result.err.find("goes on from here") != std::string::npos) break;
  }
  expect_refusal(result, 1, {"out.work/", "the same command goes on from here"});
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  expect_refusal(run_coldpress(command("out", {"--method", "rtn"})), 1,
                 {"recipe /method was admm-q and is rtn now", "out.work", "--restart"});
  // Without a journal there is room.
  const CommandResult off =
      run_coldpress(command("other", {"--shard-size", "100K", "--no-resume"}), options);
  EXPECT_EQ(off.exit_code, 0) << off.err;
  const CommandResult again = run_coldpress(command("out", small));
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("coldpress: goes on after "));
  EXPECT_THAT(folder_.names(), ElementsAre("model", "other", "out", "text.txt"));
}

TEST_F(Crash, RestartDropsTheWork) {
  CommandOptions options;
  for (double seconds = 0.05; !fs::exists(folder_ / "out.work"); seconds += 0.02) {
    options.kill_after = seconds;
    ASSERT_NE(run_coldpress(command("out"), options).exit_code, 0);
  }
  const CommandResult result = run_coldpress(command("out", {"--method", "rtn", "--restart"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(folder_.names(), ElementsAre("model", "out", "text.txt"));
}

}  // namespace
}  // namespace coldpress::test
