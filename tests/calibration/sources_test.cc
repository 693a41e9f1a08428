#include "calibration/sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/json.h"
#include "tests/io/test_files.h"
#include "tests/tokenizer/synthetic_vocab.h"

namespace coldpress {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Sources : public testing::Test {
 protected:
  // The byte-level vocabulary of 264 tokens: "a" is 64, EOS 262.
  std::unique_ptr<Tokenizer> tokenizer(const std::string& chat_template = "") {
    spill(folder_ / "tokenizer.json", test::byte_level_json().dump());
    Json config = {{"eos_token", "<|endoftext|>"}};
    if (!chat_template.empty()) config["chat_template"] = chat_template;
    spill(folder_ / "tokenizer_config.json", config.dump());
    return Tokenizer::open(folder_.path()).value();
  }
  CalibrationSource file(const std::string& name, const std::string& bytes, double weight = 1) {
    spill(folder_ / name, bytes);
    return {name, folder_ / name, weight};
  }
  TempFolder folder_;
};

TEST_F(Sources, AreParsed) {
  const auto find = [](const std::string& name) -> Result<std::filesystem::path> {
    if (name == "c4" || name == "a:b") return std::filesystem::path("/" + name);
    return not_found("no " + name);
  };
  const auto parse = [&](const char* text) { return parse_calibration_sources(text, find); };
  const auto two = parse("c4:0.6,a:b:2").value();
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].path, "/c4");
  EXPECT_EQ(two[0].weight, 0.6);
  EXPECT_EQ(two[1].name, "a:b");
  EXPECT_EQ(two[1].weight, 2);
  EXPECT_EQ(parse("c4").value()[0].weight, 1);
  EXPECT_THAT(parse("c4,x").status().message(), HasSubstr("no x"));
  EXPECT_THAT(parse("c4:-1").status().message(), HasSubstr("not above 0"));
  EXPECT_THAT(parse("c4:nan").status().message(), HasSubstr("not above 0"));
  EXPECT_FALSE(parse("").ok());
}

TEST_F(Sources, EachKindBecomesTokens) {
  const auto t = tokenizer("{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}");
  const auto source = file("mixed.jsonl",
                           "{\"text\": \"aa\"}\n{\"tokens\": [5, 6]}\n"
                           "{\"messages\": [{\"role\": \"b\", \"content\": \"a\"}]}\n");
  const auto w = read_calibration({source}, {2, 4, {}}, *t).value();
  EXPECT_THAT(w.tokens, ElementsAre(64, 64, 262, 5, 6, 65, 25, 64));
  EXPECT_EQ(w.sources[0].kind, "chats+texts+tokens");
}

TEST_F(Sources, WeightsDivideTheWindows) {
  const auto t = tokenizer();
  const auto a = file("a.txt", std::string(100, 'a'), 3);
  const auto b = file("b.txt", std::string(100, 'b'), 1);
  const auto w = read_calibration({a, b}, {8, 10, {}}, *t).value();
  EXPECT_EQ(w.sources[0].windows, 6);
  EXPECT_EQ(w.sources[1].windows, 2);
  EXPECT_EQ(w.window(5)[9], 64);
  EXPECT_EQ(w.window(6)[0], 65);
  const auto none = read_calibration({a, b}, {1, 10, {}}, *t);
  EXPECT_THAT(none.status().message(), HasSubstr("b.txt"));
}

TEST_F(Sources, ErrorsNameTheLine) {
  const auto t = tokenizer();
  const auto error = [&](const std::string& bytes) {
    return read_calibration({file("x.jsonl", bytes)}, {1, 4, {}}, *t).status().message();
  };
  EXPECT_THAT(error("{\"tokens\": [264]}"), HasSubstr("x.jsonl: line 1: token id 264"));
  EXPECT_THAT(error("{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"b\", \"content\": \"a\"}]}"),
              HasSubstr("line 2"));
  EXPECT_THAT(error("{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"b\", \"content\": \"a\"}]}"),
              HasSubstr("no chat template"));
  EXPECT_THAT(error("{\"text\": \"a\"}"), HasSubstr("2 tokens"));
}

TEST(Shares, SumToTheSamples) {
  const auto shares = [](std::vector<double> weights, int64_t samples) {
    return share_windows(weights, samples);
  };
  EXPECT_THAT(shares({0.6, 0.4}, 10), ElementsAre(6, 4));
  EXPECT_THAT(shares({1, 1, 1}, 10), ElementsAre(4, 3, 3));
  EXPECT_THAT(shares({1, 1e-9}, 128), ElementsAre(128, 0));
  EXPECT_THAT(shares({2}, 7), ElementsAre(7));
}

TEST(ChosenWindows, AreTheFirstOnesOrSeeded) {
  EXPECT_THAT(choose_windows(10, 3, std::nullopt, 0), ElementsAre(0, 1, 2));
  const auto one = choose_windows(1000, 20, 7, 0);
  EXPECT_EQ(one, choose_windows(1000, 20, 7, 0));
  EXPECT_NE(one, choose_windows(1000, 20, 8, 0));
  EXPECT_NE(one, choose_windows(1000, 20, 7, 1));
  EXPECT_TRUE(std::is_sorted(one.begin(), one.end()));
  EXPECT_LT(one.back(), 1000);
  EXPECT_GT(one.back(), 500);
  EXPECT_THAT(choose_windows(3, 3, 7, 0), ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace coldpress
