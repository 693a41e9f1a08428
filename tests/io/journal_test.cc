#include "io/journal.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "io/file.h"
#include "io/file_lock.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

struct Opened {
  Journal journal;
  std::vector<std::string> records;
  std::vector<Journal::Record> places;
};

Opened open(const std::filesystem::path& path) {
  std::vector<std::string> records;
  std::vector<Journal::Record> places;
  auto journal =
      Journal::open(path, [&](const Journal::Record& at, std::span<const std::byte> payload) {
        records.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
        places.push_back(at);
      });
  EXPECT_TRUE(journal.ok()) << journal.status().message();
  return {std::move(journal).value(), records, places};
}

using Records = std::vector<std::string>;

TEST(Journal, GivesBackWhatWasAppended) {
  const TempFolder folder;
  {
    Opened first = open(folder / "journal");
    EXPECT_EQ(Records(), first.records);
    for (const char* text : {"one", "", "three"}) {
      ASSERT_TRUE(first.journal.append(bytes_of(text)).ok());
    }
    ASSERT_TRUE(first.journal.flush().ok());
  }
  Opened second = open(folder / "journal");
  EXPECT_EQ((Records{"one", "", "three"}), second.records);
  ASSERT_TRUE(second.journal.append(bytes_of("four")).ok());
  EXPECT_EQ(5U, second.journal.read(second.places[2]).value().size());
  EXPECT_EQ((Records{"one", "", "three", "four"}), open(folder / "journal").records);
}

// Whatever length the file has, the whole records before it are there, and it can be gone on with.
TEST(Journal, CutsATornTailAtEveryByte) {
  const TempFolder folder;
  const auto whole = folder / "whole";
  const Records texts = {"first", "a second record", "3"};
  std::vector<uint64_t> ends = {8};
  {
    Opened opened = open(whole);
    for (const std::string& text : texts) {
      ASSERT_TRUE(opened.journal.append(bytes_of(text)).ok());
      ends.push_back(std::filesystem::file_size(whole));
    }
  }
  for (uint64_t size = 0; size <= ends.back(); ++size) {
    SCOPED_TRACE(size);
    const auto torn = folder / "torn";
    std::filesystem::copy_file(whole, torn, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(torn, size);
    Records left;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (ends[i + 1] <= size) left.push_back(texts[i]);
    }
    Opened opened = open(torn);
    EXPECT_EQ(left, opened.records);
    ASSERT_TRUE(opened.journal.append(bytes_of("more")).ok());
    left.push_back("more");
    EXPECT_EQ(left, open(torn).records);
  }
}

TEST(Journal, EndsBeforeAChangedByte) {
  const TempFolder folder;
  const auto path = folder / "journal";
  {
    Opened opened = open(path);
    for (const char* text : {"one", "two"}) {
      ASSERT_TRUE(opened.journal.append(bytes_of(text)).ok());
    }
  }
  const std::string whole = read_text_file(path).value();
  for (std::size_t at = 8; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    ASSERT_TRUE(write_text_file(path, changed).ok());
    const Records left = at < 8 + 16 + 3 ? Records() : Records{"one"};
    EXPECT_EQ(left, open(path).records) << at;
  }
}

// As some file systems leave it after a power cut.
TEST(Journal, TakesATailOfZerosForNothing) {
  const TempFolder folder;
  const auto path = folder / "journal";
  { ASSERT_TRUE(open(path).journal.append(bytes_of("one")).ok()); }
  std::filesystem::resize_file(path, 1000);
  EXPECT_EQ(Records{"one"}, open(path).records);
  EXPECT_EQ(8U + 16 + 3, std::filesystem::file_size(path));
}

TEST(Journal, RefusesAnotherFile) {
  const TempFolder folder;
  ASSERT_TRUE(write_text_file(folder / "journal", "a text of mine").ok());
  const auto journal = Journal::open(folder / "journal", [](auto&&...) {});
  ASSERT_FALSE(journal.ok());
  EXPECT_NE(std::string::npos, journal.status().message().find("is not a journal"));
  EXPECT_EQ("a text of mine", read_text_file(folder / "journal").value());
}

TEST(FileLock, IsHeldOnce) {
  const TempFolder folder;
  auto first = FileLock::try_acquire(folder / "lock").value();
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(FileLock::try_acquire(folder / "lock").value().has_value());
  EXPECT_TRUE(first->is_in_place());
  std::filesystem::remove(folder / "lock");
  EXPECT_FALSE(first->is_in_place());
  first.reset();
  EXPECT_TRUE(FileLock::try_acquire(folder / "lock").value().has_value());
}

}  // namespace
}  // namespace coldpress
