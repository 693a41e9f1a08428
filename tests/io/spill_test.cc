#include "io/spill.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>

#include "base/view.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A folder on a disk, beside the tests: the one for temporary files may be in memory.
class DiskFolder {
 public:
  DiskFolder() {
    std::string name = (fs::current_path() / "spill-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~DiskFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

TEST(SpillFolder, GivesZeroedPagesThatKeepValues) {
  const DiskFolder folder;
  const auto memory = SpillFolder::open(folder.path(), 1 << 20);
  ASSERT_TRUE(memory.ok()) << memory.status().message();
  Result<MatrixF> made = MatrixF::create(300, 700, *memory);
  ASSERT_TRUE(made.ok()) << made.status().message();
  MatrixF m = std::move(made).value();
  for (int64_t i = 0; i < m.size(); ++i) ASSERT_EQ(m.data()[i], 0.0F);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(i);
  const MatrixF moved = std::move(m);
  for (int64_t i = 0; i < moved.size(); ++i) ASSERT_EQ(moved.data()[i], static_cast<float>(i));
}

TEST(SpillFolder, LeavesNothingToSee) {
  const DiskFolder folder;
  const auto memory = SpillFolder::open(folder.path(), 0);
  ASSERT_TRUE(memory.ok());
  const auto m = MatrixF::create(10, 10, *memory);
  ASSERT_TRUE(m.ok());
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(SpillFolder, RefusesAFolderThatIsNotThere) {
  const DiskFolder folder;
  EXPECT_THAT(SpillFolder::open(folder / "missing", 0).status().message(),
              HasSubstr("does not exist"));
}

TEST(SpillFolder, RefusesMoreThanIsFree) {
  const DiskFolder folder;
  EXPECT_THAT(
      SpillFolder::open(folder.path(), std::numeric_limits<uint64_t>::max()).status().message(),
      HasSubstr("--work-dir"));
  const auto memory = SpillFolder::open(folder.path(), 0);
  ASSERT_TRUE(memory.ok());
  EXPECT_THAT(memory->map(std::size_t{1} << 55).status().message(), HasSubstr("--work-dir"));
}

TEST(SpillFolder, RefusesAFolderInMemory) {
  if (!fs::is_directory("/dev/shm")) GTEST_SKIP() << "no /dev/shm";
  EXPECT_THAT(SpillFolder::open("/dev/shm", 0).status().message(), HasSubstr("in memory"));
}

}  // namespace
}  // namespace coldpress
