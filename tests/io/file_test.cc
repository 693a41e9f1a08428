#include "io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

TEST(MappedFile, ShowsTheBytes) {
  const TempFolder folder;
  spill(folder / "a", "hello");
  auto file = MappedFile::open(folder / "a");
  ASSERT_TRUE(file.ok()) << file.status().message();
  MappedFile moved = std::move(file).value();
  EXPECT_EQ(std::memcmp(moved.bytes().data(), "hello", 5), 0);
  EXPECT_EQ(moved.bytes().size(), 5U);
}

TEST(MappedFile, EmptyFileIsNoBytes) {
  const TempFolder folder;
  spill(folder / "a", "");
  const auto file = MappedFile::open(folder / "a");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, MissingFileIsNamed) {
  const TempFolder folder;
  const auto file = MappedFile::open(folder / "missing.gguf");
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(file.status().message(), HasSubstr((folder / "missing.gguf").string()));
}

TEST(MappedFile, FolderAndPipeAreRefused) {
  const TempFolder folder;
  EXPECT_THAT(MappedFile::open(folder.path()).status().message(), HasSubstr("a folder"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::open(folder / "pipe").status().message(), HasSubstr("pipe"));
}

TEST(AtomicFile, AppearsOnlyAtCommit) {
  const TempFolder folder;
  auto file = AtomicFile::create(folder / "out");
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_TRUE(file->append("one ").ok());
  ASSERT_TRUE(file->append("two").ok());
  EXPECT_FALSE(fs::exists(folder / "out"));
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(slurp(folder / "out"), "one two");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"out"});
}

TEST(AtomicFile, WithoutCommitNothingIsLeft) {
  const TempFolder folder;
  {
    auto file = AtomicFile::create(folder / "out");
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append("half").ok());
    EXPECT_EQ(folder.names().size(), 1U);
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(AtomicFile, ReplacesAnOldFileAtOnce) {
  const TempFolder folder;
  spill(folder / "out", "old");
  {
    auto file = AtomicFile::create(folder / "out");
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append("new").ok());
  }
  EXPECT_EQ(slurp(folder / "out"), "old");
  ASSERT_TRUE(write_text_file(folder / "out", "new").ok());
  EXPECT_EQ(slurp(folder / "out"), "new");
}

TEST(AtomicFile, TwoWritersDoNotShareAPart) {
  const TempFolder folder;
  auto a = AtomicFile::create(folder / "out");
  auto b = AtomicFile::create(folder / "out");
  ASSERT_TRUE(a.ok() && b.ok());
  ASSERT_TRUE(a->append("a").ok());
  ASSERT_TRUE(b->append("bb").ok());
  ASSERT_TRUE(b->commit().ok());
  ASSERT_TRUE(a->commit().ok());
  EXPECT_EQ(slurp(folder / "out"), "a");
}

TEST(AtomicFile, WritesAnywhereAndFillsHolesWithZeros) {
  const TempFolder folder;
  auto file = AtomicFile::create(folder / "out");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->resize(8).ok());
  ASSERT_TRUE(file->write_at(6, bytes_of(std::string("zz"))).ok());
  ASSERT_TRUE(file->append("a").ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(slurp(folder / "out"), std::string("a\0\0\0\0\0zz", 8));
}

TEST(AtomicFile, BadTargetsAreClearSentences) {
  const TempFolder folder;
  const auto missing = AtomicFile::create(folder / "no/such/out");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("does not exist; create it first"));
  EXPECT_THAT(AtomicFile::create(folder.path()).status().message(), HasSubstr("is a folder"));
  EXPECT_FALSE(AtomicFile::create("").ok());
  EXPECT_FALSE(AtomicFile::create(folder / "..").ok());
}

// Runs as an ordinary user while in scope; root may write anywhere.
class AsOrdinaryUser {
 public:
  AsOrdinaryUser() {
    if (::geteuid() == 0) switched_ = ::seteuid(65534) == 0;
  }
  ~AsOrdinaryUser() {
    if (switched_ && ::seteuid(0) != 0) std::abort();  // later tests would run as nobody
  }
  bool works() const { return ::geteuid() != 0; }

 private:
  bool switched_ = false;
};

TEST(AtomicFile, UnwritableFolderIsAClearSentence) {
  const TempFolder folder;
  fs::permissions(folder.path(), fs::perms(0555));
  {
    const AsOrdinaryUser user;
    if (!user.works()) GTEST_SKIP() << "this test needs an ordinary user";
    const auto file = AtomicFile::create(folder / "out");
    EXPECT_EQ(file.status().code(), StatusCode::kIo);
    EXPECT_THAT(file.status().message(), HasSubstr((folder / "out").string()));
    EXPECT_THAT(file.status().message(), HasSubstr("check the permissions"));
    EXPECT_THAT(AtomicFolder::create(folder / "dir").status().message(),
                HasSubstr("check the permissions"));
  }
  fs::permissions(folder.path(), fs::perms(0755));
  EXPECT_THAT(folder.names(), IsEmpty());
}

// The limit on file size stands in for a full disk where nothing can be mounted.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit = {bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_ = {};
  void (*old_handler_)(int) = nullptr;
};

TEST(AtomicFile, WritePastTheLimitFailsAndLeavesNothing) {
  const TempFolder folder;
  {
    const FileSizeLimit limit(4096);
    auto file = AtomicFile::create(folder / "out");
    ASSERT_TRUE(file.ok());
    const Status s = file->append(std::string(10000, 'x'));
    EXPECT_EQ(s.code(), StatusCode::kIo);
    EXPECT_THAT(s.message(), HasSubstr((folder / "out").string()));
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(AtomicFile, ReservationPastTheLimitFails) {
  const TempFolder folder;
  const FileSizeLimit limit(4096);
  auto file = AtomicFile::create(folder / "out");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->resize(10000).code(), StatusCode::kIo);
}

TEST(AtomicFile, ImpossibleSizeFails) {
  const TempFolder folder;
  auto file = AtomicFile::create(folder / "out");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->resize(UINT64_MAX).code(), StatusCode::kIo);
}

TEST(FullDisk, ReservationSaysSoAndLeavesNothing) {
  const TinyDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tiny file system is not allowed here";
  {
    auto file = AtomicFile::create(disk.folder() / "out");
    ASSERT_TRUE(file.ok());
    const Status s = file->resize(1 << 20);
    EXPECT_EQ(s.code(), StatusCode::kIo);
    EXPECT_THAT(s.message(), HasSubstr("No space left on device; free some space"));
    EXPECT_THAT(s.message(), HasSubstr((disk.folder() / "out").string()));
  }
  EXPECT_THAT(disk.folder().names(), IsEmpty());
}

TEST(FullDisk, WriteSaysSoAndLeavesNothing) {
  const TinyDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tiny file system is not allowed here";
  {
    const Status s = write_text_file(disk.folder() / "out", std::string(1 << 20, 'x'));
    EXPECT_THAT(s.message(), HasSubstr("No space left on device; free some space"));
    auto folder = AtomicFolder::create(disk.folder() / "dir");
    ASSERT_TRUE(folder.ok());
    EXPECT_FALSE(write_text_file(folder->work_path() / "x", std::string(1 << 20, 'x')).ok());
  }
  EXPECT_THAT(disk.folder().names(), IsEmpty());
}

TEST(AtomicFolder, AppearsOnlyAtCommit) {
  const TempFolder folder;
  auto out = AtomicFolder::create(folder / "model/");
  ASSERT_TRUE(out.ok()) << out.status().message();
  ASSERT_TRUE(write_text_file(out->work_path() / "a.txt", "a").ok());
  EXPECT_FALSE(fs::exists(folder / "model"));
  ASSERT_TRUE(out->commit().ok());
  EXPECT_EQ(folder.names(), std::vector<std::string>{"model"});
  EXPECT_EQ(slurp(folder / "model/a.txt"), "a");
}

TEST(AtomicFolder, WithoutCommitNothingIsLeft) {
  const TempFolder folder;
  {
    auto out = AtomicFolder::create(folder / "model");
    ASSERT_TRUE(out.ok());
    ASSERT_TRUE(write_text_file(out->work_path() / "a.txt", "a").ok());
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(AtomicFolder, TakesTheNameOfAnEmptyFolderOnly) {
  const TempFolder folder;
  fs::create_directory(folder / "empty");
  auto out = AtomicFolder::create(folder / "empty");
  ASSERT_TRUE(out.ok());
  ASSERT_TRUE(out->commit().ok());

  fs::create_directory(folder / "full");
  spill(folder / "full/a", "a");
  const Status full = AtomicFolder::create(folder / "full").status();
  EXPECT_EQ(full.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(full.message(), HasSubstr("remove it or choose another name"));
  spill(folder / "file", "a");
  EXPECT_FALSE(AtomicFolder::create(folder / "file").ok());
}

TEST(AtomicFolder, DoesNotReplaceAFolderFilledMeanwhile) {
  const TempFolder folder;
  auto out = AtomicFolder::create(folder / "model");
  ASSERT_TRUE(out.ok());
  fs::create_directory(folder / "model");
  spill(folder / "model/theirs", "a");
  EXPECT_FALSE(out->commit().ok());
  EXPECT_EQ(slurp(folder / "model/theirs"), "a");
}

TEST(CopyFileExact, CopiesBytesAndNamesWhatIsMissing) {
  const TempFolder folder;
  const std::string bytes("a\0b\xff", 4);
  spill(folder / "a", bytes);
  ASSERT_TRUE(copy_file_exact(folder / "a", folder / "b").ok());
  EXPECT_EQ(slurp(folder / "b"), bytes);
  EXPECT_THAT(copy_file_exact(folder / "c", folder / "d").message(),
              HasSubstr((folder / "c").string()));
  EXPECT_FALSE(fs::exists(folder / "d"));
}

TEST(ReadTextFile, ReadsAllOrExplains) {
  const TempFolder folder;
  const std::string text(200000, 'q');
  spill(folder / "a", text);
  EXPECT_EQ(*read_text_file(folder / "a"), text);
  EXPECT_EQ(read_text_file(folder / "b").status().code(), StatusCode::kNotFound);
  EXPECT_THAT(read_text_file(folder.path()).status().message(), HasSubstr(folder.path().string()));
}

}  // namespace
}  // namespace coldpress
