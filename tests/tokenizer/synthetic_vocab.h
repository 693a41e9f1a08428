// Tiny vocabularies for tests: all 256 bytes, some merges, a few special tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"

namespace coldpress::test {

// UTF-8 of a code point below 0x800.
inline std::string utf8(uint32_t code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// Byte-level BPE's spelling of the 256 bytes, in the order GPT-2 numbers them.
inline std::vector<std::string> byte_alphabet() {
  std::vector<std::string> alphabet;
  const auto printable = [](uint32_t b) {
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  };
  for (uint32_t b = 0; b < 256; ++b) {
    if (printable(b)) alphabet.push_back(utf8(b));
  }
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    if (!printable(b)) alphabet.push_back(utf8(next++));
  }
  return alphabet;
}

// ids: 0..255 bytes, 256 "he", 257 "ll", 258 "hell", 259 "hello", 260 "Ġhello", 261 "12",
//      262 <|endoftext|> (special), 263 <tool> (added)
inline Json byte_level_json() {
  std::vector<std::string> tokens = byte_alphabet();
  const std::string space = utf8(0x120);
  for (const std::string& t : {std::string("he"), std::string("ll"), std::string("hell"),
                               std::string("hello"), space + "hello", std::string("12")}) {
    tokens.push_back(t);
  }
  Json vocab = Json::object();
  for (std::size_t i = 0; i < tokens.size(); ++i) vocab[tokens[i]] = i;
  Json j;
  j["version"] = "1.0";
  j["added_tokens"] = Json::array(
      {{{"id", 262}, {"content", "<|endoftext|>"}, {"special", true}, {"normalized", false}},
       {{"id", 263}, {"content", "<tool>"}, {"special", false}, {"normalized", false}}});
  j["normalizer"] = nullptr;
  j["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       Json::array({{{"type", "Digits"}, {"individual_digits", true}},
                    {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}})}};
  j["post_processor"] = nullptr;
  j["model"] = {{"type", "BPE"}, {"unk_token", nullptr}, {"byte_fallback", false}};
  j["model"]["vocab"] = vocab;
  j["model"]["merges"] = Json::array({"h e", "l l", "he ll", "hell o", space + " hello", "1 2"});
  return j;
}

// SentencePiece style. ids: 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then ▁ h e l o, merges.
inline Json sentencepiece_json() {
  const std::string mark = "\xe2\x96\x81";
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  for (int b = 0; b < 256; ++b) {
    const char* hex = "0123456789ABCDEF";
    tokens.push_back(std::string("<0x") + hex[b >> 4] + hex[b & 15] + ">");
  }
  for (const std::string& t :
       {mark, std::string("h"), std::string("e"), std::string("l"), std::string("o"),
        std::string("he"), std::string("ll"), std::string("lo"), std::string("hell"), mark + "hell",
        std::string("el")}) {
    tokens.push_back(t);
  }
  Json vocab = Json::object();
  for (std::size_t i = 0; i < tokens.size(); ++i) vocab[tokens[i]] = i;
  Json j;
  j["added_tokens"] = Json::array({{{"id", 0}, {"content", "<unk>"}, {"special", true}},
                                   {{"id", 1}, {"content", "<s>"}, {"special", true}},
                                   {{"id", 2}, {"content", "</s>"}, {"special", true}}});
  j["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       Json::array({{{"type", "Prepend"}, {"prepend", mark}},
                    {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", mark}}})}};
  j["pre_tokenizer"] = nullptr;
  j["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", Json::array({{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}})}};
  j["model"] = {{"type", "BPE"}, {"unk_token", "<unk>"}, {"byte_fallback", true}};
  j["model"]["vocab"] = vocab;
  j["model"]["merges"] = Json::array({Json::array({"h", "e"}), Json::array({"l", "l"}),
                                      Json::array({"l", "o"}), Json::array({"he", "ll"}),
                                      Json::array({mark, "hell"}), Json::array({"e", "l"})});
  return j;
}

}  // namespace coldpress::test
