// Models in several GGUF files: any part opens all; parts that contradict each other are refused.
#include "io/gguf_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "io/ggml_codec.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
using Metadata = std::vector<std::pair<std::string, GgufValue>>;

void write_part(const std::filesystem::path& path, const Metadata& metadata,
                const std::vector<std::string>& tensors) {
  std::vector<GgufWriter::Declaration> declared;
  for (const std::string& name : tensors) declared.push_back({name, {1}, kGgmlF32});
  auto writer = GgufWriter::create(path, metadata, declared);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (const std::string& name : tensors) {
    const auto value = static_cast<float>(name.back());
    ASSERT_TRUE(writer->write(name, bytes_of(std::vector<float>{value})).ok());
  }
  ASSERT_TRUE(writer->finish().ok());
}

struct Part {
  Metadata metadata;
  std::vector<std::string> tensors;
};

// Three sound parts, spoilt by `edit`, in a folder.
class Split : public ::testing::Test {
 protected:
  Split() {
    parts_[0].metadata = {{"general.name", GgufValue::string("whole")}};
    for (int64_t i = 0; i < 3; ++i) put_split_keys({i, 3, 4}, parts_[i].metadata);
    parts_[0].tensors = {"a"};
    parts_[1].tensors = {"b", "c"};
    parts_[2].tensors = {"d"};
  }
  void write() {
    for (int64_t i = 0; i < 3; ++i) {
      write_part(path(i), parts_[i].metadata, parts_[i].tensors);
    }
  }
  std::filesystem::path path(int64_t i) const { return split_path(folder_ / "m.gguf", i, 3); }
  void set(int part, const std::string& key, const GgufValue& value) {
    for (auto& [name, old] : parts_[part].metadata) {
      if (name == key) old = value;
    }
  }
  void expect_refused(const std::string& file, const std::string& what, int64_t opened = 0) {
    write();
    const Status s = GgufFile::open(path(opened)).status();
    EXPECT_THAT(s.message(), HasSubstr(what));
    EXPECT_THAT(s.message(), HasSubstr(file));
  }
  TempFolder folder_;
  Part parts_[3];
};

TEST_F(Split, AnyPartOpensAll) {
  write();
  EXPECT_EQ(folder_.names().front(), "m-00001-of-00003.gguf");
  for (int64_t i = 0; i < 3; ++i) {
    const auto file = GgufFile::open(path(i));
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(file->path(), path(i));
    ASSERT_EQ(file->content().tensors.size(), 4U);
    EXPECT_EQ(file->content().metadata.size(), 1U);
    for (const GgufTensor& t : file->content().tensors) {
      float value = 0;
      std::memcpy(&value, t.data.data(), sizeof(value));
      EXPECT_EQ(value, static_cast<float>(t.name.back()));
    }
  }
}

TEST_F(Split, OnePartOfOneIsAWholeModel) {
  Metadata metadata;
  put_split_keys({0, 1, 1}, metadata);
  write_part(folder_ / "any.gguf", metadata, {"a"});
  EXPECT_TRUE(GgufFile::open(folder_ / "any.gguf").ok());
}

TEST_F(Split, AMissingPartIsNamed) {
  write();
  std::filesystem::remove(path(1));
  const Status s = GgufFile::open(path(0)).status();
  EXPECT_EQ(s.code(), StatusCode::kNotFound);
  EXPECT_THAT(s.message(), HasSubstr("is one of 3 files"));
  EXPECT_THAT(s.message(), HasSubstr("m-00002-of-00003.gguf"));
}

TEST_F(Split, ARenamedPartCannotFindTheOthers) {
  write();
  std::filesystem::rename(path(0), folder_ / "m.gguf");
  EXPECT_THAT(GgufFile::open(folder_ / "m.gguf").status().message(),
              HasSubstr("must end with -00001-of-00003.gguf"));
}

TEST_F(Split, CountsMustAgree) {
  set(1, "split.count", {GgufType::kU16, int64_t{4}});
  expect_refused("m-00002-of-00003", "says that it is part 2 of 4, but stands as part 2 of 3");
}

TEST_F(Split, NumbersMustAgree) {
  set(2, "split.no", {GgufType::kU16, int64_t{1}});
  expect_refused("m-00003-of-00003", "says that it is part 2 of 3, but stands as part 3 of 3");
}

TEST_F(Split, EveryPartMustBeOne) {
  erase_split_keys(parts_[2].metadata);
  expect_refused("m-00003-of-00003", "says that it is no part of a split model");
}

TEST_F(Split, TensorCountsMustAgree) {
  set(1, "split.tensors.count", GgufValue::i32(5));
  expect_refused("m-00002-of-00003", "has 5 tensors, but");
}

TEST_F(Split, TensorCountsMustBeRight) {
  for (int i = 0; i < 3; ++i) set(i, "split.tensors.count", GgufValue::i32(5));
  expect_refused("m-00001-of-00003", "has 5 tensors, but its 3 parts hold 4");
}

TEST_F(Split, ATensorMayBeInOnePartOnly) {
  parts_[2].tensors = {"a"};
  expect_refused("m-00003-of-00003", "tensor 'a' is in");
}

TEST_F(Split, HostileValuesAreRefused) {
  const std::vector<std::pair<std::string, GgufValue>> bad = {
      {"split.count", GgufValue::i32(-1)},
      {"split.count", GgufValue::u32(70000)},
      {"split.count", GgufValue::string("3")},
      {"split.count", GgufValue::boolean(true)},
      {"split.count", GgufValue::u64(UINT64_MAX)},
      {"split.no", GgufValue::i32(-1)},
      {"split.no", GgufValue::f32(0)},
      {"split.tensors.count", GgufValue::i32(-1)},
      {"split.tensors.count", GgufValue::u64(uint64_t{1} << 40)}};
  for (const auto& [key, value] : bad) {
    const Metadata before = parts_[0].metadata;
    set(0, key, value);
    expect_refused("m-00001-of-00003", key + " is not a whole number");
    parts_[0].metadata = before;
  }
  set(0, "split.no", GgufValue::u32(3));
  expect_refused("m-00001-of-00003", "split.no is 3, but split.count only 3");
}

TEST_F(Split, PlacesWithoutNumbersAreRefused) {
  std::erase_if(parts_[0].metadata, [](const auto& e) { return e.first == "split.no"; });
  expect_refused("m-00001-of-00003", "split.no is not a whole number");
}

TEST_F(Split, ADamagedPartIsNamed) {
  write();
  std::filesystem::resize_file(path(2), 20);
  EXPECT_THAT(GgufFile::open(path(0)).status().message(), HasSubstr("m-00003-of-00003.gguf"));
}

}  // namespace
}  // namespace coldpress
