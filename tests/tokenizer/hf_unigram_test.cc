// Unigram models of tokenizer.json: ids, and what llama.cpp has no twin of. Against the
// `tokenizers` library: tests/python/tokenizers_reference.
#include "tokenizer/hf_unigram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "io/json.h"
#include "tests/io/test_files.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kMark = "\xe2\x96\x81";

Json metaspace(const char* scheme, bool split = true) {
  return {
      {"type", "Metaspace"}, {"replacement", kMark}, {"prepend_scheme", scheme}, {"split", split}};
}

// ids: 0 <pad>, 1 </s>, 2 <unk>, 3 ▁, 4 a, 5 b, 6 ▁a, 7 ab
Json unigram_json() {
  Json j;
  j["added_tokens"] = Json::array({{{"id", 0}, {"content", "<pad>"}, {"special", true}},
                                   {{"id", 1}, {"content", "</s>"}, {"special", true}},
                                   {{"id", 2}, {"content", "<unk>"}, {"special", true}}});
  j["normalizer"] = nullptr;
  j["pre_tokenizer"] = metaspace("never");
  j["post_processor"] = {{"type", "TemplateProcessing"},
                         {"single", Json::array({{{"Sequence", {{"id", "A"}}}},
                                                 {{"SpecialToken", {{"id", "</s>"}}}}})}};
  j["model"] = {{"type", "Unigram"}, {"unk_id", 2}, {"byte_fallback", false}};
  const std::pair<std::string, double> pieces[] = {{"<pad>", 0},        {"</s>", 0}, {"<unk>", 0},
                                                   {kMark, -2},         {"a", -2},   {"b", -2},
                                                   {kMark + "a", -2.5}, {"ab", -3.5}};
  for (const auto& [piece, score] : pieces) j["model"]["vocab"].push_back({piece, score});
  return j;
}

Json words_json() {
  Json j = unigram_json();
  j["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}};
  j["pre_tokenizer"] = metaspace("always");
  return j;
}

std::vector<int32_t> encode(const Json& json, std::string_view text) {
  const TempFolder folder;
  spill(folder / "tokenizer.json", json.dump());
  const auto t = Tokenizer::open(folder.path());
  EXPECT_TRUE(t.ok()) << t.status().message();
  if (!t.ok()) return {};
  EXPECT_FALSE((*t)->adds_bos());
  return (*t)->encode(text, true).value();
}

std::string unigram_error(const Json& json) {
  const TempFolder folder;
  spill(folder / "tokenizer.json", json.dump());
  const auto t = Tokenizer::open(folder.path());
  return t.ok() ? "" : t.status().message();
}

TEST(HfUnigram, TakesTheBestPieces) {
  EXPECT_THAT(encode(unigram_json(), "ab a"), ElementsAre(7, 6));  // -3.5 beats -4
  EXPECT_THAT(encode(unigram_json(), "  a"), ElementsAre(3, 6));   // spaces are kept
  EXPECT_THAT(encode(unigram_json(), "xyb"), ElementsAre(2, 5));   // unknown ones are one
  EXPECT_THAT(encode(unigram_json(), "a</s>"), ElementsAre(4, 1));
}

TEST(HfUnigram, MergesSpacesWhereTheFileDoes) {
  EXPECT_THAT(encode(words_json(), "a"), ElementsAre(6));
  EXPECT_THAT(encode(words_json(), "  a   a"), ElementsAre(6, 6));
}

TEST(HfUnigram, WhatLlamaCppHasNotIsRefused) {
  const auto changed = [](Json j, auto&& edit) {
    edit(j);
    return unigram_error(j);
  };
  EXPECT_THAT(changed(unigram_json(), [](Json& j) { j["model"]["byte_fallback"] = true; }),
              HasSubstr("byte fallback is not supported"));
  EXPECT_THAT(changed(unigram_json(),
                      [](Json& j) {
                        j["normalizer"] = {{"type", "NFKC"}};
                      }),
              HasSubstr("the normalizer {\"type\":\"NFKC\"}"));
  EXPECT_THAT(changed(unigram_json(), [](Json& j) { j["pre_tokenizer"] = nullptr; }),
              HasSubstr("the pre-tokenizer null"));
  EXPECT_THAT(changed(unigram_json(),
                      [](Json& j) {
                        j["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
                      }),
              HasSubstr("the pre-tokenizer"));
  EXPECT_THAT(changed(unigram_json(), [](Json& j) { j["pre_tokenizer"] = metaspace("always"); }),
              HasSubstr("that keeps runs of spaces has no twin"));
  EXPECT_THAT(changed(words_json(), [](Json& j) { j["pre_tokenizer"] = metaspace("never"); }),
              HasSubstr("that merges runs of spaces has no twin"));
  EXPECT_THAT(changed(words_json(), [](Json& j) { j["pre_tokenizer"] = metaspace("first"); }),
              HasSubstr("prepend_scheme \"first\""));
  const Json whitespace = {
      {"type", "Sequence"},
      {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, metaspace("always")})}};
  EXPECT_THAT(changed(words_json(), [&](Json& j) { j["pre_tokenizer"] = whitespace; }),
              HasSubstr("WhitespaceSplit drops line ends"));
  const auto across = [](Json& j) { j["model"]["vocab"].push_back({"a" + kMark + "a", -9}); };
  EXPECT_THAT(changed(unigram_json(), across), HasSubstr("spans two words"));
  EXPECT_EQ(changed(unigram_json(),
                    [&](Json& j) {
                      across(j);
                      j["pre_tokenizer"] = metaspace("never", false);
                    }),
            "");
  EXPECT_THAT(changed(unigram_json(), [](Json& j) { j["model"]["vocab"][3][0] = "x"; }),
              HasSubstr("no piece for a space alone"));
}

TEST(HfUnigram, HostileFilesAreErrors) {
  const auto changed = [](auto&& edit) {
    Json j = unigram_json();
    edit(j);
    return unigram_error(j);
  };
  EXPECT_EQ(changed([](Json&) {}), "");
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"] = Json::object(); }),
              HasSubstr("not an array of pieces"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"] = Json::array(); }),
              HasSubstr("not an array of pieces"));
  for (const char* entry : {"5", "[]", "[\"x\"]", "[\"x\", \"y\"]", "[\"\", 1]", "[1, 1]",
                            "[\"x\", 1, 1]", "[\"x\", 1e999]"}) {
    const auto json = parse_json(entry, "x");
    if (!json.ok()) continue;
    EXPECT_THAT(changed([&](Json& j) { j["model"]["vocab"][4] = *json; }),
                HasSubstr("entry 4 of model.vocab"))
        << entry;
  }
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"][4][0] = "b"; }), HasSubstr("twice"));
  for (const char* id : {"-1", "8", "null", "\"2\"", "1.5", "18446744073709551615"}) {
    EXPECT_THAT(changed([&](Json& j) { j["model"]["unk_id"] = Json::parse(id); }),
                HasSubstr("model.unk_id"))
        << id;
  }
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"][0]["id"] = 5; }), HasSubstr("two ids"));
  const auto charsmap = [&](const char* text) {
    return changed([&](Json& j) {
      j["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", text}};
    });
  };
  EXPECT_THAT(charsmap("A"), HasSubstr("not base64"));
  EXPECT_THAT(charsmap("AA!A"), HasSubstr("not base64"));
  EXPECT_THAT(charsmap(""), HasSubstr("not base64"));
  EXPECT_THAT(charsmap("AAA="), HasSubstr("too short"));
  EXPECT_THAT(charsmap("/////w=="), HasSubstr("longer than itself"));
  EXPECT_THAT(changed([](Json& j) {
                j["normalizer"] = {{"type", "Precompiled"}};
              }),
              HasSubstr("not base64"));
}

}  // namespace
}  // namespace coldpress
