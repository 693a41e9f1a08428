// kill -9 at any instant of a run, in a process of its own that begins with the run: every kind of
// output is the same afterwards as without.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "base/rng.h"
#include "io/json.h"
#include "pipeline/quantize_model.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_job.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

constexpr int kKills = 20;

class Kill : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }

  using Change = std::function<void(QuantizeJob&)>;
  Status quantize(const std::string& out, const Change& change, bool keeps) {
    QuantizeJob job = tiny_job(folder_.path(), out);
    job.recipe.grid.bits = 4;
    job.recipe.samples = 16;
    job.recipe.seqlen = 64;
    change(job);
    if (keeps) job.work = WorkFolderOptions{.save_spacing = 0};
    return quantize_model(std::move(job)).status();
  }

  // True: it came to its end.
  bool run_and_kill(const std::function<Status()>& work, double seconds) {
    const pid_t child = fork();
    if (child == 0) _exit(work().ok() ? 0 : 1);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    kill(child, SIGKILL);  // not waited for yet, so it is nobody else's
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFEXITED(status);
  }

  void expect_survival(const std::string& out, const std::string& weights, uint64_t seed,
                       const Change& change) {
    const auto start = std::chrono::steady_clock::now();
    const Status whole = quantize("whole" + out, change, false);
    ASSERT_TRUE(whole.ok()) << whole.message();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const std::string wanted = slurp((folder_ / ("whole" + out)).string() + weights);
    ASSERT_FALSE(wanted.empty());
    const fs::path path = folder_ / ("parts" + out);
    Rng rng(seed);
    int kills = 0;
    while (kills < kKills) {
      const bool is_done = run_and_kill([&] { return quantize("parts" + out, change, true); },
                                        0.8 * seconds * rng.uniform());
      if (!is_done) ++kills;
      // What has the name is whole.
      if (fs::exists(path)) {
        EXPECT_TRUE(wanted == slurp(path.string() + weights));
      }
      // A kill may come when the output is complete and its work gone, or nearly.
      const bool is_named = fs::exists(path) && !fs::exists(path.string() + ".work/journal");
      if (!is_done && !is_named) continue;
      fs::remove_all(path.string() + ".work");
      fs::remove_all(path);
      fs::remove(path.string() + ".coldpress.json");
    }
    const Status last = quantize("parts" + out, change, true);
    EXPECT_TRUE(last.ok()) << last.message();
    EXPECT_TRUE(wanted == slurp(path.string() + weights));
    for (const std::string& name : {"whole" + out, "parts" + out}) {
      fs::remove_all(folder_ / name);
      fs::remove((folder_ / name).string() + ".coldpress.json");
    }
    EXPECT_THAT(folder_.names(), ElementsAre("model", "text.txt"));
  }

  TempFolder folder_;
};

TEST_F(Kill, DenseFolder) {
  expect_survival("", "/model.safetensors", 1, [](QuantizeJob&) {});
}

TEST_F(Kill, GgufOfBlocks) {
  expect_survival(".gguf", "", 2, [](QuantizeJob& job) {
    job.recipe.grid = {};
    job.recipe.types.mix = "Q4_0";
    job.recipe.types.pure = true;
    job.recipe.types.allow_fallback = true;
  });
}

TEST_F(Kill, CodesWithScales) {
  expect_survival("", "/model.safetensors", 3, [](QuantizeJob& job) {
    job.recipe.code_format = "compressed-tensors";
    job.recipe.grid.symmetric = true;
    job.recipe.transform.steps = parse_transform_steps("smooth:0.5").value();
  });
}

}  // namespace
}  // namespace coldpress::test
