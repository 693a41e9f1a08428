// coldpress fetch, mostly with a `python3` of our own in front of the real one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/cli/command.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Fetch : public testing::Test {
 protected:
  // A python3 that runs `script` instead.
  void fake_python(const std::string& script) {
    const fs::path program = folder_ / "bin/python3";
    write_file(program, "#!/bin/sh\n" + script);
    fs::permissions(program, fs::perms::owner_all);
  }
  CommandResult fetch(const std::string& name) {
    return run_coldpress(
        {"fetch", name},
        {.environment = {{"XDG_CACHE_HOME", (folder_ / "cache").string()},
                         {"PATH", (folder_ / "bin").string() + ":" + std::getenv("PATH")}}});
  }
  // Nothing but empty folders may be left by a failed fetch.
  void expect_empty_cache() {
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "cache")) {
      EXPECT_TRUE(entry.is_directory()) << entry.path();
    }
  }
  TempFolder folder_;
};

TEST_F(Fetch, RefusesAnUnknownNameAndListsTheKnown) {
  expect_refusal(fetch("llama-405b"), 1, {"llama-405b", "smollm2-135m", "c4", "wiki"});
}

TEST_F(Fetch, ListShowsEveryEntry) {
  const CommandResult result = run_coldpress({"fetch", "--list"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* name : {"smollm2-135m", "c4", "wiki", "code", "technical", "multilingual"}) {
    EXPECT_THAT(result.out, HasSubstr(std::string("\n") + name));
  }
}

TEST_F(Fetch, SaysWhatPipSaidWhenThereIsNoNetwork) {
  fake_python("echo 'WARNING: Retrying' >&2; echo 'ERROR: No matching distribution' >&2; exit 1");
  expect_refusal(fetch("c4"), 1, {"network", "exllamav3==1.6.5", "No matching distribution"});
  expect_empty_cache();
}

TEST_F(Fetch, SaysWhenPipIsMissing) {
  fake_python("echo '/usr/bin/python3: No module named pip' >&2; exit 1");
  expect_refusal(fetch("c4"), 1, {"python3-pip"});
}

TEST_F(Fetch, KeepsNothingOfAWheelWithTheWrongChecksum) {
  fake_python("while [ \"$1\" != --dest ]; do shift; done; echo junk >\"$2/x-1-py3-none-any.whl\"");
  expect_refusal(fetch("c4"), 1, {"SHA-256", "x-1-py3-none-any.whl"});
  expect_empty_cache();
}

TEST_F(Fetch, AFetchedFileNeedsNoPython) {
  fake_python("exit 1");
  const fs::path text = folder_ / "cache/coldpress/texts/c4.txt";
  write_file(text, std::string(1338229, ' '));
  const CommandResult result = fetch("c4");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, text.string() + "\n");
}

TEST_F(Fetch, BringsATextFromThePackageIndex) {
  const CommandResult result = fetch("c4");
  if (result.err.find("network") != std::string::npos) GTEST_SKIP() << result.err;
  const fs::path text = folder_ / "cache/coldpress/texts/c4.txt";
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, text.string() + "\n");
  EXPECT_EQ(fs::file_size(text), 1338229u);
  EXPECT_EQ(result.err, "");
}

}  // namespace
}  // namespace coldpress::test
