#include "tokenizer/hf_vocab.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/json.h"
#include "tests/io/test_files.h"
#include "tests/tokenizer/synthetic_vocab.h"
#include "tokenizer/pre_tokenizer.h"

namespace coldpress {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const GgufValue* find(const GgufMetadata& m, const std::string& key) {
  for (const auto& [name, value] : m) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<GgufMetadata> convert(const std::string& tokenizer, const std::string& config = "",
                             const std::string& model_config = "") {
  const TempFolder folder;
  spill(folder / "tokenizer.json", tokenizer);
  if (!config.empty()) spill(folder / "tokenizer_config.json", config);
  if (!model_config.empty()) spill(folder / "config.json", model_config);
  return hf_tokenizer_metadata(folder.path());
}

std::string error_of(const Json& json, const std::string& config = "",
                     const std::string& model_config = "") {
  const auto m = convert(json.dump(), config, model_config);
  return m.ok() ? "" : m.status().message();
}

TEST(HfVocab, WritesGgufKeys) {
  const auto m = convert(test::byte_level_json().dump(),
                         R"({"eos_token": {"content": "<|endoftext|>"}, "bos_token": null,
                             "chat_template": "T"})");
  ASSERT_TRUE(m.ok()) << m.status().message();
  EXPECT_EQ(find(*m, "tokenizer.ggml.model")->as_string(), "gpt2");
  EXPECT_EQ(find(*m, "tokenizer.ggml.pre")->as_string(), "smollm");
  EXPECT_EQ(find(*m, "tokenizer.ggml.tokens")->as_strings()->at(259), "hello");
  EXPECT_EQ(find(*m, "tokenizer.ggml.token_type")->as_numbers()->at(262), 3);
  EXPECT_EQ(find(*m, "tokenizer.ggml.token_type")->as_numbers()->at(263), 4);
  EXPECT_EQ(find(*m, "tokenizer.ggml.merges")->as_strings()->at(2), "he ll");
  EXPECT_EQ(find(*m, "tokenizer.ggml.eos_token_id")->as_int(), 262);
  EXPECT_EQ(find(*m, "tokenizer.ggml.bos_token_id"), nullptr);
  EXPECT_EQ(find(*m, "tokenizer.ggml.add_bos_token")->as_int(), 0);
  EXPECT_EQ(find(*m, "tokenizer.chat_template")->as_string(), "T");
}

TEST(HfVocab, BothSpellingsOfMergesAreTheSame) {
  Json pairs = test::byte_level_json();
  Json& merges = pairs["model"]["merges"];
  for (Json& merge : merges) {
    const auto s = merge.get<std::string>();
    const auto space = s.find(' ');
    merge = Json::array({s.substr(0, space), s.substr(space + 1)});
  }
  const auto a = convert(test::byte_level_json().dump());
  const auto b = convert(pairs.dump());
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(find(*a, "tokenizer.ggml.merges")->as_strings(),
            find(*b, "tokenizer.ggml.merges")->as_strings());
}

TEST(HfVocab, BosIsAddedAsTheTemplateOrTheConfigurationSays) {
  Json j = test::byte_level_json();
  j["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       Json::array({{{"type", "ByteLevel"}},
                    {{"type", "TemplateProcessing"},
                     {"single", Json::array({{{"SpecialToken", {{"id", "<|endoftext|>"}}}},
                                             {{"Sequence", {{"id", "A"}}}}})}}})}};
  const auto templated = convert(j.dump());
  ASSERT_TRUE(templated.ok());
  EXPECT_EQ(find(*templated, "tokenizer.ggml.add_bos_token")->as_int(), 1);
  EXPECT_EQ(find(*templated, "tokenizer.ggml.bos_token_id")->as_int(), 262);
  const auto configured = convert(j.dump(), R"({"add_bos_token": false})");
  ASSERT_TRUE(configured.ok());
  EXPECT_EQ(find(*configured, "tokenizer.ggml.add_bos_token")->as_int(), 0);
}

TEST(HfVocab, PadsToTheEmbeddingRows) {
  const auto m = convert(test::byte_level_json().dump(), "", R"({"vocab_size": 320})");
  ASSERT_TRUE(m.ok()) << m.status().message();
  EXPECT_EQ(find(*m, "tokenizer.ggml.tokens")->as_strings()->size(), 320u);
  EXPECT_EQ(find(*m, "tokenizer.ggml.tokens")->as_strings()->at(319), "[PAD319]");
  EXPECT_EQ(find(*m, "tokenizer.ggml.token_type")->as_numbers()->at(319), 5);
}

TEST(HfVocab, ScoresFollowTheMerges) {
  const auto m = convert(test::sentencepiece_json().dump());
  ASSERT_TRUE(m.ok()) << m.status().message();
  const auto scores = *find(*m, "tokenizer.ggml.scores")->as_numbers();
  EXPECT_EQ(scores[264], -1);  // he
  EXPECT_EQ(scores[268], -5);  // ▁hell
  EXPECT_LT(scores[260], -6);  // h: made by no merge
  EXPECT_EQ(find(*m, "tokenizer.ggml.token_type")->as_numbers()->at(3), 6);
  EXPECT_EQ(find(*m, "tokenizer.ggml.token_type")->as_numbers()->at(0), 2);
  EXPECT_EQ(find(*m, "tokenizer.ggml.add_space_prefix")->as_int(), 1);
  EXPECT_EQ(find(*m, "tokenizer.ggml.unknown_token_id")->as_int(), 0);
}

TEST(HfVocab, HostileFilesAreErrors) {
  const auto changed = [](auto&& edit) {
    Json j = test::byte_level_json();
    edit(j);
    return error_of(j);
  };
  EXPECT_EQ(changed([](Json&) {}), "");
  EXPECT_THAT(error_of(Json::array()), HasSubstr("no \"model\""));
  EXPECT_THAT(changed([](Json& j) { j["model"]["type"] = "WordPiece"; }),
              AllOf(HasSubstr("WordPiece"), HasSubstr("known: BPE")));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"] = Json::array(); }),
              HasSubstr("model.vocab"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["!"] = -1; }), HasSubstr("id -1"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["!"] = 1.5; }), HasSubstr("id 1.5"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["!"] = 4000000000u; }),
              HasSubstr("id 4000000000"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["!"] = 4000000; }),
              HasSubstr("tokens for 4000001 ids"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["vocab"]["!"] = 1; }), HasSubstr("belongs to both"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"][0]["id"] = 5; }),
              HasSubstr("belongs to both"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"][0] = 5; }), HasSubstr("added token 5"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"] = "x"; }), HasSubstr("not an array"));
  EXPECT_THAT(changed([](Json& j) { j["added_tokens"][0]["content"] = "hello"; }),
              HasSubstr("two ids"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"] = 3; }), HasSubstr("model.merges"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"][0] = "he"; }), HasSubstr("not a pair"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"][0] = "h e l"; }), HasSubstr("not a pair"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"][0] = Json::array({"h"}); }),
              HasSubstr("not a pair"));
  EXPECT_THAT(changed([](Json& j) { j["model"]["merges"][0] = "h o"; }),
              HasSubstr("not in the vocabulary"));
  EXPECT_THAT(changed([](Json& j) {
                j["normalizer"] = {{"type", "Lowercase"}};
              }),
              HasSubstr("Lowercase"));
  EXPECT_THAT(error_of(test::byte_level_json(), R"({"bos_token": "<none>"})"), HasSubstr("<none>"));
  EXPECT_THAT(error_of(test::byte_level_json(), "", R"({"vocab_size": 4000000})"),
              HasSubstr("tokens for 4000000 ids"));
  const auto text = convert("{\"model\": ");
  ASSERT_FALSE(text.ok());
  EXPECT_THAT(text.status().message(), HasSubstr("tokenizer.json"));
}

TEST(HfVocab, SentencePieceVariantsLlamaCppLacksAreErrors) {
  Json j = test::sentencepiece_json();
  j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\xe2\x96\x81"}, {"split", true}};
  EXPECT_THAT(error_of(j), HasSubstr("Metaspace"));
  j = test::sentencepiece_json();
  j["normalizer"] = {{"type", "NFKC"}};
  EXPECT_THAT(error_of(j), HasSubstr("NFKC"));
}

// Every name in the table reads back as itself, or as the name that stands for its behaviour.
TEST(PreTokenizer, NamesSurviveJson) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"smollm", "smollm"},
      {"starcoder", "smollm"},
      {"gpt-2", "gpt-2"},
      {"llama-bpe", "llama-bpe"},
      {"dbrx", "smaug-bpe"},
      {"qwen2", "qwen2"},
      {"qwen35", "qwen35"},
      {"gpt-4o", "gpt-4o"},
      {"tekken", "tekken"},
      {"deepseek-v3", "deepseek-v3"},
      {"falcon", "falcon"},
      {"deepseek-llm", "deepseek-llm"},
      {"deepseek-coder", "deepseek-coder"}};
  for (const auto& [name, expected] : cases) {
    const auto json = pre_tokenizer_json(name, "x");
    ASSERT_TRUE(json.ok()) << json.status().message();
    const auto back = recognise_pre_tokenizer(json->node, json->ignore_merges, "x");
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(*back, expected);
  }
  EXPECT_FALSE(pre_tokenizer_json("viking", "x").ok());
}

// As published in the models' own files.
TEST(PreTokenizer, RecognisesPublishedFiles) {
  const auto name = [](const char* text, bool ignore_merges) {
    const auto json = parse_json(text, "x");
    EXPECT_TRUE(json.ok()) << json.status().message();
    const auto found = recognise_pre_tokenizer(*json, ignore_merges, "x");
    return found.ok() ? *found : found.status().message();
  };
  EXPECT_EQ(name(R"j({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
      "behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,
      "trim_offsets":true,"use_regex":false}]})j",
                 true),
            "llama-bpe");
  EXPECT_EQ(name(R"j({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true})j", false),
            "gpt-2");
  EXPECT_EQ(
      name(R"j({"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},
      {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},
      {"type":"Digits","individual_digits":false},{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},
      "behavior":"Isolated","invert":false}]})j",
           false),
      "falcon");
  const std::string prefixed =
      name(R"j({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true})j", false);
  EXPECT_THAT(prefixed, AllOf(HasSubstr("add_prefix_space"), HasSubstr("known: smollm, gpt-2")));
  EXPECT_THAT(name("null", false), HasSubstr("known: smollm"));
}

TEST(HfFiles, RoundTrip) {
  const auto m = convert(test::byte_level_json().dump(),
                         R"({"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>",
                             "add_bos_token": true, "chat_template": "T"})");
  ASSERT_TRUE(m.ok()) << m.status().message();
  const auto files = hf_tokenizer_files(*m, "x");
  ASSERT_TRUE(files.ok()) << files.status().message();
  const auto back = convert(files->tokenizer_json, files->tokenizer_config_json);
  ASSERT_TRUE(back.ok()) << back.status().message();
  ASSERT_EQ(back->size(), m->size());
  for (const auto& [key, value] : *m) {
    const GgufValue* other = find(*back, key);
    ASSERT_NE(other, nullptr) << key;
    EXPECT_EQ(other->as_strings(), value.as_strings()) << key;
    EXPECT_EQ(other->as_numbers(), value.as_numbers()) << key;
    EXPECT_EQ(other->as_string(), value.as_string()) << key;
    EXPECT_EQ(other->as_int(), value.as_int()) << key;
  }
  const auto spm = convert(test::sentencepiece_json().dump());
  ASSERT_TRUE(spm.ok());
  EXPECT_FALSE(hf_tokenizer_files(*spm, "x").ok());
}

TEST(Vocab, KnowsTheByteAlphabet) {
  int64_t bytes = 0;
  for (const std::string& c : test::byte_alphabet()) {
    EXPECT_EQ(outside_byte_alphabet(c), 0) << c;
    ++bytes;
  }
  EXPECT_EQ(bytes, 256);
  for (uint32_t code = 0; code < 0x800; ++code) {
    const auto alphabet = test::byte_alphabet();
    const bool inside =
        std::find(alphabet.begin(), alphabet.end(), test::utf8(code)) != alphabet.end();
    EXPECT_EQ(outside_byte_alphabet(test::utf8(code)), inside ? 0 : 1) << code;
  }
  EXPECT_EQ(outside_byte_alphabet("a b"), 1);
  EXPECT_EQ(outside_byte_alphabet("\xe2\x96\x81"), 1);
  EXPECT_EQ(outside_byte_alphabet("\xc4"), 1);
  EXPECT_TRUE(is_byte_token("<0xAf>"));
  EXPECT_FALSE(is_byte_token("<0xAg>"));
}

}  // namespace
}  // namespace coldpress
