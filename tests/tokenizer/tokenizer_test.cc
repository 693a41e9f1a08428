#include "tokenizer/tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <sstream>

#include "io/file.h"
#include "io/json.h"
#include "tests/io/test_files.h"
#include "tests/tokenizer/synthetic_vocab.h"
#include "tokenizer/hf_vocab.h"

namespace coldpress {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

std::vector<int32_t> encode(const Tokenizer& t, std::string_view text, bool special = false) {
  auto ids = t.encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? ids.value() : std::vector<int32_t>();
}

std::unique_ptr<Tokenizer> open_json(const Json& json) {
  const TempFolder folder;
  spill(folder / "tokenizer.json", json.dump());
  auto t = Tokenizer::open(folder.path());
  EXPECT_TRUE(t.ok()) << t.status().message();
  return t.ok() ? std::move(t).value() : nullptr;
}

GgufMetadata tiny_metadata() {
  return {{"tokenizer.ggml.model", GgufValue::string("gpt2")},
          {"tokenizer.ggml.pre", GgufValue::string("gpt-2")},
          {"tokenizer.ggml.tokens", GgufValue::strings({"a", "b", "ab", "<x>"})},
          {"tokenizer.ggml.token_type", GgufValue::i32s({1, 1, 1, 3})},
          {"tokenizer.ggml.merges", GgufValue::strings({"a b"})},
          {"tokenizer.ggml.bos_token_id", GgufValue::u32(3)},
          {"tokenizer.ggml.add_bos_token", GgufValue::boolean(true)}};
}

GgufMetadata with(const std::string& key, GgufValue value) {
  GgufMetadata m = tiny_metadata();
  for (auto& [name, v] : m) {
    if (name == key) {
      v = std::move(value);
      return m;
    }
  }
  m.emplace_back(key, std::move(value));
  return m;
}

std::string gguf_error(const GgufMetadata& m) {
  const auto t = Tokenizer::from_metadata(m, "here.gguf");
  return t.ok() ? "" : t.status().message();
}

TEST(Tokenizer, EncodesByteLevelBpe) {
  const auto t = open_json(test::byte_level_json());
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(t->vocab_size(), 264);
  EXPECT_EQ(t->describe(), "gpt2 (smollm), 264 tokens");
  EXPECT_THAT(encode(*t, "hello hello"), ElementsAre(259, 260));
  // Digits stand alone, so the merge "1 2" never applies ('1' is byte token 16, '2' is 17).
  EXPECT_THAT(encode(*t, "12"), ElementsAre(16, 17));
  EXPECT_THAT(encode(*t, ""), IsEmpty());
}

TEST(Tokenizer, NeverAddsBos) {
  const auto t = Tokenizer::from_metadata(tiny_metadata(), "here.gguf");
  ASSERT_TRUE(t.ok()) << t.status().message();
  EXPECT_TRUE((*t)->adds_bos());
  EXPECT_EQ((*t)->bos(), 3);
  EXPECT_EQ((*t)->eos(), std::nullopt);
  EXPECT_THAT(encode(**t, "ab"), ElementsAre(2));
}

TEST(Tokenizer, SpecialTokensAreTextUnlessAskedFor) {
  const auto t = open_json(test::byte_level_json());
  ASSERT_NE(t, nullptr);
  EXPECT_THAT(encode(*t, "<|endoftext|>", true), ElementsAre(262));
  EXPECT_GT(encode(*t, "<|endoftext|>").size(), 1u);
  // Added tokens that are not special are always found.
  EXPECT_THAT(encode(*t, "hello<tool>"), ElementsAre(259, 263));
}

TEST(Tokenizer, BytesThatAreNotUtf8AreReplaced) {
  const auto t = open_json(test::byte_level_json());
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(encode(*t, "\xff"), encode(*t, "\xef\xbf\xbd"));  // U+FFFD
  EXPECT_FALSE(encode(*t, std::string_view("a\0b", 3)).empty());
}

TEST(Tokenizer, EncodesSentencePiece) {
  const auto t = open_json(test::sentencepiece_json());
  ASSERT_NE(t, nullptr);
  EXPECT_EQ(t->vocab_size(), 270);
  EXPECT_EQ(t->describe(), "llama (default), 270 tokens");
  EXPECT_TRUE(t->adds_bos());
  EXPECT_EQ(t->bos(), 1);
  // 259 "▁", 260 h, 261 e, 262 l, 263 o, 264 he, 265 ll, 266 lo, 267 hell, 268 "▁hell", 269 el
  EXPECT_THAT(encode(*t, "hello"), ElementsAre(268, 263));
  EXPECT_THAT(encode(*t, "lo"), ElementsAre(259, 266));
  EXPECT_THAT(encode(*t, "A"), ElementsAre(259, 3 + 0x41));  // byte fallback
}

// std::regex recurses once per character of a match: a stack of fixed size ends the process here.
TEST(Tokenizer, LongRunsOfOneClassAreSafe) {
  auto m = with("tokenizer.ggml.pre", GgufValue::string("gpt-4o"));
  const auto t = Tokenizer::from_metadata(m, "here.gguf");
  ASSERT_TRUE(t.ok()) << t.status().message();
  EXPECT_EQ(encode(**t, std::string(400000, 'a')).size(), 400000u);
}

TEST(Tokenizer, HostileMetadataIsAnError) {
  EXPECT_EQ(gguf_error(tiny_metadata()), "");
  const auto expect = [](const GgufMetadata& m, const char* part) {
    EXPECT_THAT(gguf_error(m), HasSubstr(part));
    EXPECT_THAT(gguf_error(m), HasSubstr("here.gguf"));
  };
  expect({}, "no tokenizer");
  expect(with("tokenizer.ggml.model", GgufValue::string("bert")), "known: gpt2, llama, t5, gemma4");
  expect(with("tokenizer.ggml.model", GgufValue::u32(1)), "is not a string");
  expect(with("tokenizer.ggml.pre", GgufValue::string("nonesuch")),
         "'nonesuch' is not known; choose one with --tokenizer-pre");
  expect(with("tokenizer.ggml.pre", GgufValue::string("")), "does not name its pre-tokenizer");
  expect(with("tokenizer.ggml.pre", GgufValue::string("whitespace")), "not known");
  expect(with("tokenizer.ggml.tokens", GgufValue::strings({})), "is empty");
  expect(with("tokenizer.ggml.tokens", GgufValue::strings({"a", "b", "a", "c"})), "twice");
  expect(with("tokenizer.ggml.tokens", GgufValue::strings({"a", "", "[EMPTY_1]", "c"})), "twice");
  const std::string nul("a\0x", 3);
  expect(with("tokenizer.ggml.tokens", GgufValue::strings({"a", nul, "b", "c"})), "twice");
  expect(
      with("tokenizer.ggml.tokens", GgufValue::strings({"a", std::string(70000, 'b'), "b", "c"})),
      "70000 bytes");
  expect(
      with("tokenizer.ggml.tokens", GgufValue::strings({"a", std::string(60000, ' '), "b", "c"})),
      "not a byte-level BPE vocabulary");
  expect(with("tokenizer.ggml.tokens", GgufValue::u32(3)), "not an array of strings");
  expect(with("tokenizer.ggml.token_type", GgufValue::i32s({1, 1, 1})), "3 entries for 4 tokens");
  expect(with("tokenizer.ggml.token_type", GgufValue::i32s({1, 1, 1, 7})), "unknown type 7");
  expect(with("tokenizer.ggml.token_type", GgufValue::i32s({1, 1, 1, 6})), "not written <0xNN>");
  expect(with("tokenizer.ggml.token_type", GgufValue::string("1")), "not an array of integers");
  expect(with("tokenizer.ggml.merges", GgufValue::strings({"ab"})), "not two tokens");
  expect(with("tokenizer.ggml.merges", GgufValue::strings({"ab "})), "not two tokens");
  expect(with("tokenizer.ggml.merges", GgufValue::i32s({1})), "not an array of strings");
  expect(with("tokenizer.ggml.bos_token_id", GgufValue::u32(4)), "has 4 tokens");
  expect(with("tokenizer.ggml.bos_token_id", GgufValue::i32(-1)), "has 4 tokens");
  expect(with("tokenizer.ggml.add_bos_token", GgufValue::u32(1)), "is not a bool");
  expect(with("tokenizer.ggml.model", GgufValue::string("llama")), "scores is missing");
  GgufMetadata spm = with("tokenizer.ggml.model", GgufValue::string("llama"));
  spm.emplace_back("tokenizer.ggml.scores", GgufValue::f32s({0, 0}));
  expect(spm, "2 entries for 4 tokens");
  spm.back().second = GgufValue::f32s({0, 0, 0, std::nanf("")});
  expect(spm, "NaN");
}

// Unigram: one token per letter, "ab" likelier than "a" and "b", "?" for everything else.
GgufMetadata unigram_metadata() {
  return {{"tokenizer.ggml.model", GgufValue::string("t5")},
          {"tokenizer.ggml.tokens", GgufValue::strings({"?", "a", "b", "ab", "\xe2\x96\x81"})},
          {"tokenizer.ggml.token_type", GgufValue::i32s({2, 1, 1, 1, 1})},
          {"tokenizer.ggml.scores", GgufValue::f32s({0, -2, -2, -3, -1})},
          {"tokenizer.ggml.unknown_token_id", GgufValue::u32(0)},
          {"tokenizer.ggml.add_space_prefix", GgufValue::boolean(true)}};
}

TEST(Tokenizer, EncodesUnigram) {
  const auto t = Tokenizer::from_metadata(unigram_metadata(), "here.gguf");
  ASSERT_TRUE(t.ok()) << t.status().message();
  EXPECT_THAT(encode(**t, "ab ba"), ElementsAre(4, 3, 4, 2, 1));
  EXPECT_THAT(encode(**t, "azzb"), ElementsAre(4, 1, 0, 2));  // unknowns are one
}

TEST(Tokenizer, HostileUnigramMetadataIsAnError) {
  const auto error = [](const char* key, GgufValue value) {
    GgufMetadata m = unigram_metadata();
    m.emplace_back(key, std::move(value));
    return gguf_error(m);
  };
  const char* charsmap = "tokenizer.ggml.precompiled_charsmap";
  EXPECT_THAT(error(charsmap, GgufValue::u32(1)), HasSubstr("not an array of bytes"));
  EXPECT_THAT(error(charsmap, GgufValue::i32s({1000})), HasSubstr("not an array of bytes"));
  EXPECT_THAT(error(charsmap, GgufValue::i32s({1, 2})), HasSubstr("too short"));
  EXPECT_THAT(error(charsmap, GgufValue::i32s({4, 0, 0, 0, 1, 2, 3, 4})), HasSubstr("damaged"));
  EXPECT_THAT(error(charsmap, GgufValue::i32s({255, 255, 255, 255, 1})), HasSubstr("damaged"));
  GgufMetadata m = unigram_metadata();
  m.erase(m.begin() + 4);
  EXPECT_THAT(gguf_error(m), HasSubstr("unknown_token_id is missing"));
}

TEST(Tokenizer, APreTokenizerByNameTakesThePlaceOfTheFiles) {
  const auto m = with("tokenizer.ggml.pre", GgufValue::string("nonesuch"));
  EXPECT_FALSE(Tokenizer::from_metadata(m, "here.gguf").ok());
  const auto t = Tokenizer::from_metadata(m, "here.gguf", "gpt-2");
  ASSERT_TRUE(t.ok()) << t.status().message();
  EXPECT_THAT(encode(**t, "ab"), ElementsAre(2));
  EXPECT_FALSE(Tokenizer::from_metadata(m, "here.gguf", "gpt-3").ok());
}

// A SentencePiece vocabulary without byte tokens makes libllama throw on other characters.
TEST(Tokenizer, AVocabularyThatCannotSpellTheTextIsAnError) {
  GgufMetadata spm = with("tokenizer.ggml.model", GgufValue::string("llama"));
  spm.emplace_back("tokenizer.ggml.scores", GgufValue::f32s({0, 0, 0, 0}));
  const auto t = Tokenizer::from_metadata(spm, "here.gguf");
  ASSERT_TRUE(t.ok()) << t.status().message();
  const auto ids = (*t)->encode("z");
  ASSERT_FALSE(ids.ok());
  EXPECT_THAT(ids.status().message(), HasSubstr("here.gguf"));
}

TEST(Tokenizer, MissingFilesAreNamed) {
  const auto none = Tokenizer::open("/nonexistent/model.gguf");
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.status().message(), HasSubstr("/nonexistent/model.gguf"));
  const TempFolder empty;
  const auto folder = Tokenizer::open(empty.path());
  ASSERT_FALSE(folder.ok());
  EXPECT_EQ(folder.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(folder.status().message(), HasSubstr("tokenizer.json"));
}

// llama.cpp's own cases: NAME.gguf with texts in NAME.gguf.inp and their ids in NAME.gguf.out.
class LlamaCppVocab : public ::testing::TestWithParam<const char*> {};

TEST_P(LlamaCppVocab, GivesTheListedIds) {
  const fs::path gguf =
      fs::path(COLDPRESS_LLAMA_PREFIX) / "models" / fmt::format("ggml-vocab-{}.gguf", GetParam());
  if (!fs::exists(gguf)) GTEST_SKIP() << gguf << " is absent";
  const auto t = Tokenizer::open(gguf);
  ASSERT_TRUE(t.ok()) << t.status().message();
  const std::string inputs = slurp(gguf.string() + ".inp");
  std::istringstream outputs(slurp(gguf.string() + ".out"));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int cases = 0;
  for (std::size_t at = 0; at < inputs.size(); ++cases) {
    std::size_t end = inputs.find(separator, at);
    if (end == std::string::npos) end = inputs.size();
    std::string line;
    if (!std::getline(outputs, line)) break;
    std::vector<int32_t> expected;
    std::istringstream numbers(line);
    for (int32_t id; numbers >> id;) expected.push_back(id);
    const std::string text = inputs.substr(at, end - at);
    EXPECT_EQ(encode(**t, text), expected) << "text: " << text;
    at = end + separator.size();
  }
  EXPECT_GT(cases, 40);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, LlamaCppVocab,
                         ::testing::Values("gpt-2", "llama-bpe", "qwen2", "qwen35", "llama-spm",
                                           "phi-3", "starcoder", "refact", "command-r", "falcon",
                                           "deepseek-llm", "deepseek-coder", "gemma-4", "mpt"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// Every vocabulary there: those with cases are above; here what happens to the others.
TEST(LlamaCppVocabularies, AreAllAccountedFor) {
  const fs::path folder = fs::path(COLDPRESS_LLAMA_PREFIX) / "models";
  if (!fs::exists(folder / "ggml-vocab-gpt-2.gguf")) GTEST_SKIP() << folder << " is absent";
  const std::map<std::string, std::string> refused = {
      {"bert-bge", "tokenizer model \"bert\" is not supported"},
      {"aquila", "--tokenizer-pre"},
      {"gpt-neox", "--tokenizer-pre"},
  };
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with("ggml-vocab-") || !file.ends_with(".gguf")) continue;
    const std::string name = file.substr(11, file.size() - 16);
    SCOPED_TRACE(name);
    const auto t = Tokenizer::open(entry.path());
    if (const auto found = refused.find(name); found != refused.end()) {
      ASSERT_FALSE(t.ok());
      EXPECT_THAT(t.status().message(), HasSubstr(found->second));
    } else {
      ASSERT_TRUE(t.ok()) << t.status().message();
      EXPECT_FALSE(encode(**t, "Hello, world").empty());
    }
  }
  // A GPT-NeoX file from before pre-tokenizers had names.
  const auto neox = Tokenizer::open(folder / "ggml-vocab-gpt-neox.gguf", "gpt-2");
  ASSERT_TRUE(neox.ok()) << neox.status().message();
  EXPECT_THAT(encode(**neox, "Hello world"), ElementsAre(12092, 1533));
}

// The same vocabulary through tokenizer.json gives the same ids on every case.
TEST(HfRoundTrip, VocabulariesOfLlamaCpp) {
  for (const char* name :
       {"gpt-2", "llama-bpe", "qwen2", "qwen35", "starcoder", "refact", "command-r", "mpt"}) {
    const fs::path gguf =
        fs::path(COLDPRESS_LLAMA_PREFIX) / "models" / fmt::format("ggml-vocab-{}.gguf", name);
    if (!fs::exists(gguf)) GTEST_SKIP() << gguf << " is absent";
    const auto file = GgufFile::open(gguf);
    ASSERT_TRUE(file.ok()) << file.status().message();
    const auto files = hf_tokenizer_files(file->content().metadata, name);
    ASSERT_TRUE(files.ok()) << files.status().message();
    const TempFolder folder;
    spill(folder / "tokenizer.json", files->tokenizer_json);
    spill(folder / "tokenizer_config.json", files->tokenizer_config_json);
    const auto direct = Tokenizer::open(gguf);
    const auto converted = Tokenizer::open(folder.path());
    ASSERT_TRUE(direct.ok() && converted.ok()) << converted.status().message();
    EXPECT_EQ((*direct)->vocab_size(), (*converted)->vocab_size());
    EXPECT_EQ((*direct)->bos(), (*converted)->bos());
    EXPECT_EQ((*direct)->eos(), (*converted)->eos());
    EXPECT_EQ((*direct)->adds_bos(), (*converted)->adds_bos());
    const std::string text = slurp(gguf.string() + ".inp");
    EXPECT_EQ(encode(**direct, text), encode(**converted, text)) << name;
  }
}

TEST(Tokenizer, TokenisesAWholeCalibrationTextInSeconds) {
  const fs::path gguf = fs::path(COLDPRESS_LLAMA_PREFIX) / "models" / "ggml-vocab-starcoder.gguf";
  const fs::path text_path = fs::path(COLDPRESS_SHARED_DATA) / "c4-calibration.txt";
  if (!fs::exists(gguf)) GTEST_SKIP() << gguf << " is absent";
  if (!fs::exists(text_path)) GTEST_SKIP() << text_path << " is absent";
  const auto t = Tokenizer::open(gguf);
  ASSERT_TRUE(t.ok()) << t.status().message();
  const std::string text = slurp(text_path);
  const auto start = std::chrono::steady_clock::now();
  const auto ids = encode(**t, text);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_GT(ids.size(), text.size() / 8);
  EXPECT_LT(took.count(), 30.0);
  RecordProperty("seconds", std::to_string(took.count()));
}

}  // namespace
}  // namespace coldpress
