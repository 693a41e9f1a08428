#include "io/toml.h"

#include <gtest/gtest.h>

#include <string>

#include "io/json.h"

namespace coldpress {
namespace {

TEST(Toml, IsTheSameTreeAsJson) {
  const Json json = parse_toml(R"(
method = "gptq"   # a comment
[grid]
bits = 3
clip = 0.5
symmetric = true
[transform]
steps = ["r1", "smooth:0.5"]
kv = { bits = 4 }
)",
                               "here")
                        .value();
  EXPECT_EQ(json["method"], "gptq");
  EXPECT_EQ(json["grid"]["bits"], 3);
  EXPECT_EQ(json["grid"]["clip"], 0.5);
  EXPECT_EQ(json["grid"]["symmetric"], true);
  EXPECT_EQ(json["transform"]["steps"][1], "smooth:0.5");
  EXPECT_EQ(json["transform"]["kv"]["bits"], 4);
}

TEST(Toml, WrittenTextReadsBack) {
  const Json json = {
      {"name", "a \"quoted\"\nword"},    {"odd key", 1},
      {"list", Json::array({"x", "y"})}, {"none", nullptr},
      {"empty", Json::object()},         {"table", {{"f", 0.25}, {"inner", {{"b", true}}}}}};
  const std::string text = to_toml(json);
  const Json back = parse_toml(text, "here").value();
  EXPECT_EQ(back["name"], json["name"]);
  EXPECT_EQ(back["odd key"], 1);
  EXPECT_EQ(back["list"], json["list"]);
  EXPECT_FALSE(back.contains("none"));
  EXPECT_EQ(back["table"], json["table"]);
  EXPECT_EQ(parse_toml(to_toml(back), "here").value(), back);
}

TEST(Toml, RefusesWithTheLine) {
  for (const char* bad :
       {"\n\na = ", "\n\na = nan", "\n\na = 2020-01-01", "\n\na = [1979-05-27]", "\n\n[{\"a\"",
        "\n\n [", "\n\n[[ {", "\n\na = \"\xc3\xa4\"", "\n\n\xcb\x8f"}) {
    const auto json = parse_toml(bad, "recipe.toml");
    ASSERT_FALSE(json.ok()) << bad;
    EXPECT_NE(json.status().message().find("recipe.toml, line 3"), std::string::npos)
        << json.status().message();
  }
}

TEST(Toml, RefusesBracketsOutOfPlace) {
  for (const char* bad : {"ms = [[[[ }", "a = { b = [ }", "a = [ , ]", "a = { = 1 }"}) {
    EXPECT_FALSE(parse_toml(bad, "recipe.toml").ok()) << bad;
  }
}

}  // namespace
}  // namespace coldpress
