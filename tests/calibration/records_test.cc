#include "calibration/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace coldpress {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(const std::string& line) {
  const auto r = parse_record(line, "f.jsonl: line 7");
  return r.ok() ? "" : r.status().message();
}

TEST(Records, EachKindIsRead) {
  RecordReader reader(
      "\xef\xbb\xbf{\"text\": \"a\\nb\", \"meta\": 1}\r\n\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n"
      "{\"tokens\": [1, 2]}\n  \n{\"input_ids\": [3]}",
      "f.jsonl");
  const Record text = reader.next().value().value();
  EXPECT_EQ(text.kind, Record::Kind::kText);
  EXPECT_EQ(text.text, "a\nb");
  EXPECT_EQ(text.line, 1);
  const Record chat = reader.next().value().value();
  EXPECT_EQ(chat.kind, Record::Kind::kChat);
  EXPECT_EQ(chat.line, 3);
  EXPECT_EQ(chat.chat["messages"][0]["content"], "hi");
  EXPECT_THAT(reader.next().value().value().tokens, ElementsAre(1, 2));
  EXPECT_THAT(reader.next().value().value().tokens, ElementsAre(3));
  EXPECT_FALSE(reader.next().value().has_value());
  EXPECT_FALSE(reader.next().value().has_value());
}

TEST(Records, BadLinesAreNamed) {
  RecordReader reader("{\"text\": \"a\"}\n{\"text\": \n", "f.jsonl");
  ASSERT_TRUE(reader.next().ok());
  const auto bad = reader.next();
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(bad.status().message(), AllOf(HasSubstr("f.jsonl: line 2"), HasSubstr("JSON")));

  EXPECT_THAT(refusal("[1]"), AllOf(HasSubstr("line 7"), HasSubstr("\"input_ids\"")));
  EXPECT_THAT(refusal(R"({"prompt": "x"})"), AllOf(HasSubstr("'prompt'"), HasSubstr("\"text\"")));
  EXPECT_THAT(refusal("{}"), HasSubstr("nothing"));
  EXPECT_THAT(refusal(R"({"text": "x", "tokens": [1]})"), HasSubstr("both"));
  EXPECT_THAT(refusal(R"({"text": 1})"), HasSubstr("not a string"));
  EXPECT_THAT(refusal(R"({"tokens": 1})"), HasSubstr("not a list"));
  EXPECT_THAT(refusal(R"({"tokens": [0, -1]})"), HasSubstr("entry 2"));
  EXPECT_THAT(refusal(R"({"tokens": [1.5]})"), HasSubstr("entry 1"));
  EXPECT_THAT(refusal(R"({"tokens": [4294967296]})"), HasSubstr("entry 1"));
  EXPECT_THAT(refusal(R"({"messages": []})"), HasSubstr("list of messages"));
  EXPECT_THAT(refusal(R"({"messages": [1]})"), HasSubstr("message 1 is not an object"));
  EXPECT_THAT(refusal(R"({"messages": [{"content": "x"}]})"), HasSubstr("role"));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "user"}]})"), HasSubstr("content"));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "user", "content": [1]}]})"), HasSubstr("content"));
  EXPECT_THAT(refusal(std::string(1000, '[')), HasSubstr("nested"));
}

}  // namespace
}  // namespace coldpress
