// --max-ram: the ceiling holds, and the result is the same.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"
#include "tests/sanitizers.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;

// Spilling wants a disk, which the folder for temporary files may not be on.
class WorkFolder {
 public:
  WorkFolder() : path_(fs::current_path() / ("memory-test-" + std::to_string(::getpid()))) {
    fs::create_directory(path_);
  }
  ~WorkFolder() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

Json parsed(const CommandResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto json = parse_json(result.out, "stdout");
  return json.ok() ? *json : Json();
}

// AddressSanitizer keeps freed memory for a while, so what it holds says nothing of the program.
constexpr bool kMemoryIsOurs = !kAddressSanitizer;

// A checkpoint of random weights with two key heads.
CommandResult make_synthetic(const fs::path& model, const std::vector<std::string>& sizes) {
  std::vector<std::string> words = {COLDPRESS_SOURCE_DIR "/benchmarks/make_synthetic",
                                    model,
                                    "--kv-heads",
                                    "2",
                                    "--vocab",
                                    "1000"};
  words.insert(words.end(), sizes.begin(), sizes.end());
  return run_command(words);
}

// One wide layer: its sums weigh more than all else.
class WideLayer : public testing::Test {
 protected:
  void SetUp() override {
    const CommandResult made =
        make_synthetic(work_ / "model", {"--hidden", "256", "--ffn", "1536", "--layers", "1",
                                         "--heads", "4", "--windows", "72", "--seqlen", "128"});
    if (made.exit_code == 127) GTEST_SKIP() << "no python3";
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  std::vector<std::string> words(const std::string& verb, std::vector<std::string> more) {
    std::vector<std::string> all = {verb,
                                    work_ / "model",
                                    "--bits",
                                    "4",
                                    "--group",
                                    "64",
                                    "--method",
                                    "gptq",
                                    "--samples",
                                    "72",
                                    "--seqlen",
                                    "128",
                                    "--threads",
                                    "2",
                                    "--json",
                                    "--calibration",
                                    work_ / "model/calibration.jsonl"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Json run(const std::string& verb, const std::vector<std::string>& more) {
    return parsed(run_coldpress(words(verb, more)));
  }

  WorkFolder work_;
};

TEST_F(WideLayer, StaysBelowTheCeilingWithTheSameBytes) {
  const auto least = run("plan", {})["memory"]["least_max_ram"].get<int64_t>();
  const std::string ceiling = std::to_string(least);
  const Json planned = run("plan", {"--max-ram", ceiling})["memory"];
  EXPECT_EQ(planned["spilled"].size(), 4U);
  const Json free = run("quantize", {"-o", work_ / "free"});
  const Json capped = run("quantize", {"--max-ram", ceiling, "-o", work_ / "capped"})["memory"];
  EXPECT_EQ(capped["predicted_peak_bytes"], planned["predicted_peak_bytes"]);
  if (kMemoryIsOurs) {
    EXPECT_LE(capped["peak_anonymous_bytes"].get<int64_t>(), least);
    EXPECT_GT(free["peak_rss_bytes"].get<int64_t>(), least + 100'000'000);
  }
  for (const auto& entry : fs::directory_iterator(work_ / "free")) {
    const std::string name = entry.path().filename().string();
    if (name == "coldpress.json") continue;
    EXPECT_EQ(slurp(entry.path()), slurp(work_ / "capped" / name)) << name;
  }
}

TEST_F(WideLayer, RefusesACeilingThatCannotBeKept) {
  expect_refusal(run_coldpress(words("plan", {"--max-ram", "20M"})), 1,
                 {"--max-ram 20M", "--no-propagate"});
}

// What blocks leave behind in the C library's heap would add up to more than what is planned.
TEST(DeepModel, HoldsNoMoreThanPlannedToItsLastBlock) {
  const WorkFolder work;
  const CommandResult made =
      make_synthetic(work / "model", {"--hidden", "384", "--ffn", "1024", "--layers", "40",
                                      "--heads", "6", "--windows", "16", "--seqlen", "64"});
  if (made.exit_code == 127) GTEST_SKIP() << "no python3";
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Json run = parsed(run_coldpress({"quantize",
                                         work / "model",
                                         "--bits",
                                         "3",
                                         "--group",
                                         "64",
                                         "--method",
                                         "rtn",
                                         "--no-propagate",
                                         "--calibration",
                                         work / "model/calibration.jsonl",
                                         "--samples",
                                         "16",
                                         "--seqlen",
                                         "64",
                                         "--threads",
                                         "1",
                                         "--json",
                                         "-o",
                                         work / "out"}));
  if (!kMemoryIsOurs) return;
  EXPECT_LT(run["peak_rss_bytes"].get<int64_t>(),
            run["memory"]["predicted_peak_bytes"].get<int64_t>());
}

TEST(MaxRam, TakesSizesWithFractionsAndRefusesOthers) {
  const TempFolder folder;
  write_tiny_model(folder / "model");
  write_tiny_text(folder / "text.txt");
  const auto plan = [&](const std::string& size) {
    return run_coldpress({"plan", folder / "model", "--bits", "4", "--calibration",
                          folder / "text.txt", "--samples", "4", "--seqlen", "64", "--json",
                          "--max-ram", size});
  };
  EXPECT_EQ(parsed(plan("2.5G"))["memory"]["max_ram"], 2'500'000'000);
  for (const char* bad : {"2.5T", "much", "1e9", "nan", "0"}) {
    expect_refusal(plan(bad), 2, {"--max-ram", bad});
  }
}

TEST(MaxRam, WorkFolderMustBeThere) {
  const TempFolder folder;
  write_tiny_model(folder / "model");
  write_tiny_text(folder / "text.txt");
  const std::vector<std::string> words = {
      "quantize",      folder / "model",    "--bits",    "4", "--method", "gptq",
      "--calibration", folder / "text.txt", "--samples", "4", "--seqlen", "64"};
  // So little that something has to go to disk.
  std::vector<std::string> plan = words;
  plan[0] = "plan";
  plan.push_back("--json");
  const Json memory = parsed(run_coldpress(plan))["memory"];
  std::vector<std::string> quantize = words;
  quantize.insert(quantize.end(),
                  {"--max-ram", std::to_string(memory["least_max_ram"].get<int64_t>()),
                   "--work-dir", folder / "missing", "-o", folder / "out"});
  expect_refusal(run_coldpress(quantize), 1, {"missing", "--work-dir"});
}

}  // namespace
}  // namespace coldpress::test
