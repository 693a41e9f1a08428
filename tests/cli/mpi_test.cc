// quantize under mpirun: the bytes of one process, one that speaks, and an end when a rank dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress {
namespace {

using test::CommandResult;
using testing::HasSubstr;

class Mpi : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!COLDPRESS_WITH_MPI) GTEST_SKIP() << "this build has no MPI";
    if (test::run_command({"mpirun", "--version"}).exit_code != 0)
      GTEST_SKIP() << "mpirun is not installed";
    test::write_tiny_model(work_ / "model");
    test::write_tiny_text(work_ / "text");
  }

  // 20 windows are three shards.
  std::vector<std::string> command(const std::string& out, int samples = 20) const {
    return {COLDPRESS_BINARY,
            "quantize",
            work_ / "model",
            "--bits",
            "3",
            "--group",
            "32",
            "--calibration",
            work_ / "text",
            "--samples",
            std::to_string(samples),
            "--seqlen",
            "48",
            "--threads",
            "1",
            "-o",
            work_ / out};
  }

  static CommandResult run(std::vector<std::string> launcher,
                           const std::vector<std::string>& command) {
    launcher.insert(launcher.end(), command.begin(), command.end());
    return test::run_command(launcher,
                             {.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                              {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                              {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                                              // Open MPI leaves some kilobytes of its own.
                                              {"LSAN_OPTIONS", "detect_leaks=0"}}});
  }
  static std::vector<std::string> mpirun(int ranks) {
    return {"mpirun", "-np", std::to_string(ranks)};
  }

  TempFolder work_;
};

TEST_F(Mpi, AnyNumberOfRanksWritesTheSameFile) {
  const CommandResult alone = test::run_command(command("alone.gguf"));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  const std::string wanted = slurp(work_ / "alone.gguf");
  ASSERT_FALSE(wanted.empty());
  for (const int ranks : {1, 2, 4}) {
    const std::string out = std::to_string(ranks) + ".gguf";
    const CommandResult result = run(mpirun(ranks), command(out));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(slurp(work_ / out) == wanted) << ranks;
    EXPECT_EQ(result.err, "");
    // One summary, of rank 0.
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'),
              std::count(alone.out.begin(), alone.out.end(), '\n'))
        << result.out;
  }
  const Json manifest = parse_json(slurp(work_ / "4.gguf.coldpress.json"), "manifest").value();
  ASSERT_EQ(manifest["ranks"].size(), 4U);
  EXPECT_GT(manifest["ranks"][3]["sent_bytes"], 0);
}

TEST_F(Mpi, RanksMayBeApartByTcp) {
  const std::string script = std::string(COLDPRESS_SOURCE_DIR) + "/tests/cli/in_namespaces";
  if (run({script, "2"}, {"true"}).exit_code != 0)
    GTEST_SKIP() << "network namespaces cannot be made here (root and iproute2)";
  ASSERT_EQ(test::run_command(command("alone.gguf")).exit_code, 0);
  const CommandResult result = run({script, "3"}, command("apart.gguf"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(slurp(work_ / "apart.gguf") == slurp(work_ / "alone.gguf"));
}

TEST_F(Mpi, AnErrorIsSaidOnceAndEndsAllRanks) {
  test::write_file(work_ / "there.gguf", "an output that exists");
  const CommandResult result = run(mpirun(3), command("there.gguf"));
  EXPECT_NE(result.exit_code, 0);
  EXPECT_EQ(result.out, "");
  const std::string ours = "coldpress: ";
  std::size_t said = 0;
  for (std::size_t at = 0; (at = result.err.find(ours, at)) != std::string::npos; ++at) ++said;
  EXPECT_EQ(said, 1U) << result.err;
  EXPECT_THAT(result.err, HasSubstr("there.gguf"));

  // Of a rank that does not write: it has another model than the others.
  test::write_tiny_model(work_ / "other");
  std::string other;
  for (const std::string& argument : command("out.gguf")) {
    other += (argument == work_ / "model" ? (work_ / "none").string() : argument) + " ";
  }
  std::string same;
  for (const std::string& argument : command("out.gguf")) same += argument + " ";
  const CommandResult apart = run(
      mpirun(2),
      {"sh", "-c", "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then exec " + other + "; fi; exec " + same});
  EXPECT_NE(apart.exit_code, 0);
  EXPECT_THAT(apart.err, HasSubstr("coldpress: rank 1 of 2 on "));
  EXPECT_THAT(apart.err, HasSubstr("none"));
  EXPECT_EQ(work_.names(), (std::vector<std::string>{"model", "other", "text", "there.gguf"}));
}

TEST_F(Mpi, AKilledRankEndsTheRun) {
  std::string line;
  for (const std::string& argument : command("out.gguf", 100)) line += argument + " ";
  const std::string journal = work_ / "out.gguf.work/journal";  // is there once all have begun
  const auto start = std::chrono::steady_clock::now();
  const CommandResult result =
      run(mpirun(3), {"sh", "-c",
                      "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then (until [ -s '" + journal +
                          "' ]; do sleep 0.01; done; kill -9 $$) & fi; exec " + line});
  const auto taken = std::chrono::steady_clock::now() - start;
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("signal 9"));
  EXPECT_LT(taken, std::chrono::seconds(60));
  EXPECT_FALSE(std::filesystem::exists(work_ / "out.gguf"));

  const CommandResult again = run(mpirun(2), command("out.gguf", 100));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  ASSERT_EQ(test::run_command(command("alone.gguf", 100)).exit_code, 0);
  EXPECT_TRUE(slurp(work_ / "out.gguf") == slurp(work_ / "alone.gguf"));
}

}  // namespace
}  // namespace coldpress
