// What every verb shares: help, usage errors, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/cli/command.h"

namespace coldpress::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class EveryVerb : public testing::TestWithParam<std::string> {};

TEST_P(EveryVerb, HelpStartsWithExamplesOfItself) {
  const CommandResult result = run_coldpress({GetParam(), "--help"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, StartsWith("Examples:\n  coldpress " + GetParam() + " "));
  EXPECT_EQ(result.err, "");
}

TEST_P(EveryVerb, RefusesAnUnknownOption) {
  expect_refusal(run_coldpress({GetParam(), "--no-such-option"}), 2,
                 {"coldpress " + GetParam() + " --help"});
}

TEST_P(EveryVerb, IsListedInTheHelp) {
  EXPECT_THAT(run_coldpress({"--help"}).out, HasSubstr("\n  " + GetParam() + " "));
}

INSTANTIATE_TEST_SUITE_P(CommandLine, EveryVerb,
                         testing::Values("bench", "eval", "fetch", "inspect", "plan", "quantize"),
                         [](const auto& param) { return param.param; });

TEST(CommandLine, WithoutAVerbIsAUsageError) {
  expect_refusal(run_coldpress({}), 2, {"coldpress --help"});
}

TEST(CommandLine, RefusesAnUnknownVerb) {
  expect_refusal(run_coldpress({"squeeze"}), 2, {"squeeze"});
}

TEST(CommandLine, ShowsItsVersion) {
  const CommandResult result = run_coldpress({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

}  // namespace
}  // namespace coldpress::test
