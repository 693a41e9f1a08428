#include "io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;

TEST(Json, AgreesWithTheLibrarysOwnParser) {
  const std::string text =
      R"({"b": [1, -2, 2.5e3, true, null, "x\u00e9"], "a": {"c": {}, "d": []}, "e": 18446744073709551615})";
  const auto parsed = parse_json(text, "x");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(*parsed, Json::parse(text));
  EXPECT_EQ(parsed->dump(), Json::parse(text).dump());  // the order too
  EXPECT_EQ((*parsed)["a"]["d"].size(), 0U);
}

TEST(Json, ScalarsAreDocuments) {
  EXPECT_EQ(*parse_json("3", "x"), Json(3));
  EXPECT_EQ(*parse_json(" null ", "x"), Json(nullptr));
}

TEST(Json, BrokenTextNamesItsSource) {
  for (const std::string text :
       {"", "{", "{\"a\" 1}", "[1,]", "tru", "[1] 2", "\"\xff\"", "1e999", "{\"a\": 1"}) {
    const auto parsed = parse_json(text, "some/config.json");
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), StatusCode::kCorrupt);
    EXPECT_THAT(parsed.status().message(), HasSubstr("some/config.json: not valid JSON")) << text;
  }
}

TEST(Json, DeepNestingIsRefusedNotFollowed) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(parse_json(nested(200), "x").ok());
  EXPECT_THAT(parse_json(nested(201), "x").status().message(), HasSubstr("x: nested deeper"));
  EXPECT_FALSE(parse_json(std::string(10'000'000, '['), "x").ok());
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  EXPECT_THAT(parse_json(objects, "x").status().message(), HasSubstr("nested deeper"));
}

TEST(Json, RepeatedKeyIsRefused) {
  EXPECT_THAT(parse_json(R"({"a": 1, "b": 2, "a": 3})", "x").status().message(),
              HasSubstr("the key 'a' appears twice"));
  EXPECT_TRUE(parse_json(R"([{"a": 1}, {"a": 1}])", "x").ok());
}

// A vocabulary of 300 000 entries must not take quadratic time (minutes).
TEST(Json, LargeObjectsAreLinear) {
  std::string text = "{";
  for (int i = 0; i < 300000; ++i) {
    text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":" + std::to_string(i);
  }
  text += "}";
  const auto start = std::chrono::steady_clock::now();
  const auto parsed = parse_json(text, "x");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->size(), 300000U);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Json, FileErrorsNameTheFile) {
  const TempFolder folder;
  EXPECT_EQ(read_json_file(folder / "none.json").status().code(), StatusCode::kNotFound);
  spill(folder / "bad.json", "{");
  EXPECT_THAT(read_json_file(folder / "bad.json").status().message(),
              HasSubstr((folder / "bad.json").string()));
  spill(folder / "good.json", "{\"a\": 1}");
  EXPECT_EQ((*read_json_file(folder / "good.json"))["a"], 1);
}

}  // namespace
}  // namespace coldpress
