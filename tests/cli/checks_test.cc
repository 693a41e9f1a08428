// The source checks reject what they are there to reject.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/command.h"

namespace coldpress::test {
namespace {

using testing::HasSubstr;

class CheckLayers : public testing::Test {
 protected:
  void SetUp() override {
    write_file(tree_ / "CMakeLists.txt", "coldpress_layer(low)\ncoldpress_layer(high)\n");
    write_file(tree_ / "src/low/a.h", "#include <vector>\n");
    write_file(tree_ / "src/high/b.cc", "#include \"low/a.h\"\n#include \"high/b.h\"\n");
  }
  CommandResult check() {
    return run_command({COLDPRESS_SOURCE_DIR "/scripts/check-layers", tree_.path()});
  }
  TempFolder tree_;
};

TEST_F(CheckLayers, AcceptsIncludesThatPointDown) { EXPECT_EQ(check().exit_code, 0); }

TEST_F(CheckLayers, RejectsAnIncludeThatPointsUp) {
  write_file(tree_ / "src/low/a.h", "#include \"high/b.h\"\n");
  const CommandResult result = check();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("src/low/a.h:1: layer 'low' includes 'high'"));
}

TEST_F(CheckLayers, RejectsAFolderThatIsNoLayer) {
  write_file(tree_ / "src/stray/c.cc", "");
  const CommandResult result = check();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("'stray' is not a layer"));
}

TEST_F(CheckLayers, RejectsAnIncludeRelativeToItsOwnFolder) {
  write_file(tree_ / "src/low/a.h", "#include \"b.h\"\n");
  EXPECT_EQ(check().exit_code, 1);
}

TEST(CheckOrphans, RejectsAFileThatNoTargetBuilds) {
  const TempFolder build;
  write_file(build / "CMakeCache.txt", "BUILD_TESTING:BOOL=ON\n");
  write_file(build / "compile_commands.json", "[]");
  const CommandResult result =
      run_command({COLDPRESS_SOURCE_DIR "/scripts/check-orphans", build.path()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("apps/coldpress/main.cc is in no target"));
  EXPECT_THAT(result.err, HasSubstr("tests/cli/checks_test.cc is in no target"));
}

}  // namespace
}  // namespace coldpress::test
