#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/io/bad_file.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using test::Bad;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string file_with(const std::string& header, const std::string& data) {
  return pack<uint64_t>(header.size()) + header + data;
}

std::string entry(const std::string& name, const std::string& shape, int begin, int end,
                  const std::string& dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

TEST(Safetensors, RoundTrips) {
  const TempFolder folder;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<uint16_t> b = {7, 8};
  auto writer = SafetensorsWriter::create(folder / "m.safetensors",
                                          {{"a", DType::kF32, {2, 3}},
                                           {"empty", DType::kI64, {0, 4}},
                                           {"b \"x\" é", DType::kBF16, {2}}},
                                          {{"format", "pt"}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->write("b \"x\" é", bytes_of(b)).ok());
  ASSERT_TRUE(writer->write("a", bytes_of(a)).ok());
  ASSERT_TRUE(writer->write("empty", {}).ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "m.safetensors"));
  ASSERT_TRUE(writer->finish().ok());

  const auto file = SafetensorsFile::open(folder / "m.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->content().metadata.at("format"), "pt");
  ASSERT_EQ(file->content().tensors.size(), 3U);
  EXPECT_EQ(file->content().tensors[0].name, "a");
  const SafetensorsInfo* found = file->find("a");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->shape, (std::vector<int64_t>{2, 3}));
  ASSERT_EQ(found->data.size(), 24U);
  EXPECT_EQ(std::memcmp(found->data.data(), a.data(), 24), 0);
  EXPECT_EQ(file->find("b \"x\" é")->dtype, DType::kBF16);
  EXPECT_EQ(file->find("empty")->data.size(), 0U);
  EXPECT_EQ(file->find("c"), nullptr);
  // Tensor data starts on a multiple of 8.
  uint64_t header = 0;
  std::memcpy(&header, slurp(folder / "m.safetensors").data(), 8);
  EXPECT_EQ(header % 8, 0U);
}

TEST(Safetensors, NoTensorsIsLegal) {
  const auto empty = parse_safetensors(bytes_of(file_with("{}", "")), "x");
  ASSERT_TRUE(empty.ok()) << empty.status().message();
  EXPECT_THAT(empty->tensors, IsEmpty());
}

TEST(Safetensors, ScalarsHaveOneElement) {
  const std::string file = file_with("{" + entry("s", "[]", 0, 4) + "}", "abcd");
  const auto content = parse_safetensors(bytes_of(file), "x");
  ASSERT_TRUE(content.ok()) << content.status().message();
  EXPECT_THAT(content->tensors[0].shape, IsEmpty());
}

TEST(Safetensors, TensorsComeInFileOrder) {
  const std::string file =
      file_with("{" + entry("b", "[1]", 4, 8) + "," + entry("a", "[1]", 0, 4) + "}", "abcdefgh");
  const auto content = parse_safetensors(bytes_of(file), "x");
  ASSERT_TRUE(content.ok()) << content.status().message();
  EXPECT_EQ(content->tensors[0].name, "a");
  EXPECT_EQ(std::memcmp(content->tensors[1].data.data(), "efgh", 4), 0);
}

class BadSafetensors : public ::testing::TestWithParam<Bad> {};

TEST_P(BadSafetensors, IsRefusedWithTheFilesName) {
  const auto content = parse_safetensors(bytes_of(GetParam().bytes), "dir/model.safetensors");
  ASSERT_FALSE(content.ok());
  EXPECT_THAT(content.status().message(), HasSubstr("dir/model.safetensors"));
  EXPECT_THAT(content.status().message(), HasSubstr(GetParam().message));
}

const std::string kFour = "abcd";

INSTANTIATE_TEST_SUITE_P(
    Cases, BadSafetensors,
    ::testing::Values(
        Bad{"Empty", "", "too short"}, Bad{"LengthCut", std::string(7, '\0'), "too short"},
        Bad{"HeaderPastEnd", pack<uint64_t>(100) + "{}", "header should be 100 bytes"},
        Bad{"HeaderHuge", pack<uint64_t>(UINT64_MAX) + "{}", "header should be"},
        Bad{"HeaderCutInside", pack<uint64_t>(30) + "{" + entry("a", "[1]", 0, 4).substr(0, 29),
            "not valid JSON"},
        Bad{"HeaderNotObject", file_with("[]", ""), "not a JSON object"},
        Bad{"HeaderEmpty", file_with("", ""), "not valid JSON"},
        Bad{"EntryNotObject", file_with(R"({"a":3})", ""), "tensor 'a' is not described"},
        Bad{"NoDtype", file_with(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", kFour),
            "'a' has no dtype"},
        Bad{"DtypeNotText",
            file_with(R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", kFour),
            "'a' has no dtype"},
        Bad{"UnknownDtype", file_with("{" + entry("a", "[1]", 0, 4, "F3") + "}", kFour),
            "'a' has the unknown dtype 'F3'"},
        Bad{"NoShape", file_with(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", kFour),
            "'a' has no shape"},
        Bad{"ShapeNegative", file_with("{" + entry("a", "[-1]", 0, 4) + "}", kFour),
            "not a list of sizes"},
        Bad{"ShapeFraction", file_with("{" + entry("a", "[1.0]", 0, 4) + "}", kFour),
            "not a list of sizes"},
        Bad{"ShapeText", file_with("{" + entry("a", "[\"1\"]", 0, 4) + "}", kFour),
            "not a list of sizes"},
        Bad{"ShapeAboveInt64",
            file_with("{" + entry("a", "[9223372036854775808]", 0, 4) + "}", kFour),
            "not a list of sizes"},
        Bad{"ShapeOverflow",
            file_with("{" + entry("a", "[4294967296,4294967296]", 0, 4) + "}", kFour),
            "too large to exist"},
        Bad{"ShapeOverflowToZero",
            file_with("{" + entry("a", "[4611686018427387904,4]", 0, 0) + "}", ""),
            "too large to exist"},
        Bad{"WrongSize", file_with("{" + entry("a", "[2]", 0, 4) + "}", kFour),
            "needs 8 bytes for its shape and dtype, but its data_offsets hold 4"},
        Bad{"NoOffsets", file_with(R"({"a":{"dtype":"F32","shape":[1]}})", kFour),
            "'a' has no data_offsets"},
        Bad{"ThreeOffsets",
            file_with(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", kFour),
            "'a' has no data_offsets"},
        Bad{"OffsetsDecrease", file_with("{" + entry("a", "[1]", 4, 0) + "}", kFour),
            "not an increasing pair"},
        Bad{"OffsetsNegative", file_with("{" + entry("a", "[1]", -4, 0) + "}", kFour),
            "not an increasing pair"},
        Bad{"OffsetsHuge",
            file_with(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[1e99,2e99]}})", kFour),
            "not an increasing pair"},
        Bad{"PastEnd", file_with("{" + entry("a", "[2]", 0, 8) + "}", kFour),
            "ends at byte 8 of the data, but the file has only 4"},
        Bad{"Overlap",
            file_with("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[1]", 4, 8) + "}",
                      "abcdefgh"),
            "tensor 'b' overlaps"},
        Bad{"Gap", file_with("{" + entry("a", "[1]", 4, 8) + "}", "abcdefgh"),
            "unused bytes before it"},
        Bad{"Rest", file_with("{" + entry("a", "[1]", 0, 4) + "}", "abcdefgh"),
            "4 bytes after the last tensor"},
        Bad{"Duplicate",
            file_with("{" + entry("a", "[1]", 0, 4) + "," + entry("a", "[1]", 0, 4) + "}", kFour),
            "the key 'a' appears twice"},
        Bad{"MetadataNotObject", file_with(R"({"__metadata__":[]})", ""), "__metadata__"},
        Bad{"MetadataNotText", file_with(R"({"__metadata__":{"k":1}})", ""), "'k' is not a string"},
        Bad{"DeepNesting", file_with("{\"a\":" + std::string(5000, '['), ""), "nested deeper"},
        Bad{"ControlBytesInName", file_with("{" + entry("\\u0007\\n", "[2]", 0, 4) + "}", kFour),
            "'\\x07\\x0a'"}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Safetensors, EveryPrefixIsAnError) {
  const std::string whole =
      file_with("{" + entry("a", "[1]", 0, 4) + "," + entry("b", "[1]", 4, 8) + "}", "abcdefgh");
  ASSERT_TRUE(parse_safetensors(bytes_of(whole), "x").ok());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(parse_safetensors(bytes_of(whole).first(n), "x").ok()) << n;
  }
}

TEST(SafetensorsFile, OpenErrorsNameThePath) {
  const TempFolder folder;
  EXPECT_THAT(SafetensorsFile::open(folder / "none").status().message(),
              HasSubstr((folder / "none").string()));
  spill(folder / "short", "abc");
  EXPECT_THAT(SafetensorsFile::open(folder / "short").status().message(),
              HasSubstr((folder / "short").string()));
}

TEST(SafetensorsWriter, MisuseIsAnError) {
  const TempFolder folder;
  auto writer = SafetensorsWriter::create(folder / "m", {{"a", DType::kF32, {1}}}, {});
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(writer->write("b", bytes_of(kFour)).message(), HasSubstr("'b' was not declared"));
  EXPECT_THAT(writer->write("a", bytes_of(std::string("abc"))).message(),
              HasSubstr("'a' needs 4 bytes, not 3"));
  EXPECT_THAT(writer->finish().message(), HasSubstr("'a' was never written"));
  ASSERT_TRUE(writer->write("a", bytes_of(kFour)).ok());
  EXPECT_THAT(writer->write("a", bytes_of(kFour)).message(), HasSubstr("'a' is written twice"));

  EXPECT_FALSE(SafetensorsWriter::create(folder / "n",
                                         {{"a", DType::kF32, {1}}, {"a", DType::kF32, {1}}}, {})
                   .ok());
  EXPECT_FALSE(SafetensorsWriter::create(folder / "n", {{"a", DType::kF32, {-1}}}, {}).ok());
  EXPECT_FALSE(
      SafetensorsWriter::create(folder / "n", {{"a", DType::kF32, {1LL << 40, 1LL << 40}}}, {})
          .ok());
  EXPECT_FALSE(SafetensorsWriter::create(folder / "n", {{"\xff", DType::kF32, {1}}}, {}).ok());
}

TEST(SafetensorsWriter, UnfinishedFileIsRemoved) {
  const TempFolder folder;
  {
    auto writer = SafetensorsWriter::create(folder / "m", {{"a", DType::kF32, {1}}}, {});
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(writer->finish().ok());
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

}  // namespace
}  // namespace coldpress
