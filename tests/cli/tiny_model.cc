#include "tests/cli/tiny_model.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/rng.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "tests/cli/command.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;

constexpr int kHeads = 4;
constexpr int kHeadDim = 32;

// UTF-8 of a code point below 0x800.
std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

// GPT-2's printable stand-ins for the 256 bytes: themselves where printable, else 256, 257, ...
std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    tokens.push_back(utf8(printable ? byte : next++));
  }
  return tokens;
}

Json tokenizer_json() {
  Json vocab = Json::object();
  int id = 0;
  for (const char* special : {"<s>", "</s>"}) vocab[special] = id++;
  for (const std::string& token : byte_tokens()) vocab[token] = id++;
  Json merges = Json::array();
  const std::string space = utf8(0x120);
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"t", "h"}, {"th", "e"}, {space, "a"}, {"i", "n"}, {space, "the"}, {"o", "n"}};
  for (const auto& [left, right] : pairs) {
    merges.push_back(left + " " + right);
    vocab[left + right] = id++;
  }
  Json json;
  json["version"] = "1.0";
  json["added_tokens"] = Json::array();
  for (const int special : {0, 1}) {
    json["added_tokens"].push_back({{"id", special},
                                    {"content", special == 0 ? "<s>" : "</s>"},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  }
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Digits"}, {"individual_digits", true}},
                             {{"type", "ByteLevel"},
                              {"add_prefix_space", false},
                              {"trim_offsets", true},
                              {"use_regex", true}}}}};
  json["post_processor"] = nullptr;
  json["decoder"] = {{"type", "ByteLevel"},
                     {"add_prefix_space", true},
                     {"trim_offsets", true},
                     {"use_regex", true}};
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"vocab", vocab},
                   {"merges", merges}};
  return json;
}

constexpr int kVocab = 2 + 256 + 6;

Json config_json() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", kTinyHidden},
          {"intermediate_size", kTinyFfn},
          {"num_hidden_layers", kTinyBlocks},
          {"num_attention_heads", kHeads},
          {"num_key_value_heads", 1},
          {"head_dim", kHeadDim},
          {"hidden_act", "silu"},
          {"max_position_embeddings", 2048},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false},
          {"bos_token_id", 0},
          {"eos_token_id", 1},
          {"torch_dtype", "float32"},
          {"vocab_size", kVocab}};
}

std::vector<SafetensorsWriter::Declaration> declarations() {
  using Declaration = SafetensorsWriter::Declaration;
  std::vector<Declaration> list;
  const auto add = [&list](const std::string& name, std::vector<int64_t> shape) {
    list.push_back({name + ".weight", DType::kF32, std::move(shape)});
  };
  add("model.embed_tokens", {kVocab, kTinyHidden});
  for (int block = 0; block < kTinyBlocks; ++block) {
    const std::string prefix = "model.layers." + std::to_string(block) + ".";
    add(prefix + "input_layernorm", {kTinyHidden});
    add(prefix + "self_attn.q_proj", {kHeads * kHeadDim, kTinyHidden});
    add(prefix + "self_attn.k_proj", {kHeadDim, kTinyHidden});
    add(prefix + "self_attn.v_proj", {kHeadDim, kTinyHidden});
    add(prefix + "self_attn.o_proj", {kTinyHidden, kHeads * kHeadDim});
    add(prefix + "post_attention_layernorm", {kTinyHidden});
    add(prefix + "mlp.gate_proj", {kTinyFfn, kTinyHidden});
    add(prefix + "mlp.up_proj", {kTinyFfn, kTinyHidden});
    add(prefix + "mlp.down_proj", {kTinyHidden, kTinyFfn});
  }
  add("model.norm", {kTinyHidden});
  add("lm_head", {kVocab, kTinyHidden});
  return list;
}

void write_tensors(const fs::path& file, const std::vector<SafetensorsWriter::Declaration>& list,
                   const std::vector<std::vector<float>>& values) {
  auto writer = SafetensorsWriter::create(file, list, {{"format", "pt"}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (size_t i = 0; i < list.size(); ++i) {
    const Status written = writer->write(list[i].name, std::as_bytes(std::span(values[i])));
    ASSERT_TRUE(written.ok()) << written.message();
  }
  const Status finished = writer->finish();
  ASSERT_TRUE(finished.ok()) << finished.message();
}

}  // namespace

void write_tiny_model(const fs::path& folder) {
  fs::create_directories(folder);
  write_file(folder / "config.json", config_json().dump(2));
  write_file(folder / "tokenizer.json", tokenizer_json().dump(1));
  write_file(folder / "tokenizer_config.json",
             Json{{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"add_bos_token", false}}.dump(2));
  std::vector<std::vector<float>> values;
  const auto list = declarations();
  for (const auto& tensor : list) {
    Rng rng(7, values.size());
    int64_t count = 1;
    for (const int64_t extent : tensor.shape) count *= extent;
    const bool gain = tensor.shape.size() == 1;
    auto& of_tensor = values.emplace_back();
    for (int64_t i = 0; i < count; ++i) {
      of_tensor.push_back(static_cast<float>(gain ? 1 + 0.1 * rng.normal() : 0.2 * rng.normal()));
    }
  }
  write_tensors(folder / "model.safetensors", list, values);
}

void write_tiny_problems(const fs::path& file) {
  constexpr int64_t kRows = 48;
  constexpr int64_t kColumns = 128;
  constexpr int64_t kTokens = 256;
  std::vector<SafetensorsWriter::Declaration> list;
  std::vector<std::vector<float>> values;
  for (const std::string& name : {std::string("block.q"), std::string("block.up")}) {
    Rng rng(11, values.size());
    std::vector<float> w(kRows * kColumns);
    std::vector<float> inputs(kTokens * kColumns);  // tokens x columns
    for (float& x : w) x = static_cast<float>(rng.normal());
    for (float& x : inputs) x = static_cast<float>(rng.normal());
    std::vector<float> h(kColumns * kColumns);
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        for (int64_t t = 0; t < kTokens; ++t) {
          h[i * kColumns + j] += inputs[t * kColumns + i] * inputs[t * kColumns + j] / kTokens;
        }
      }
    }
    list.push_back({name + ".W", DType::kF32, {kRows, kColumns}});
    list.push_back({name + ".H", DType::kF32, {kColumns, kColumns}});
    values.push_back(std::move(w));
    values.push_back(std::move(h));
  }
  write_tensors(file, list, values);
}

void write_tiny_text(const fs::path& file, uint64_t seed) {
  const std::vector<std::string> words = {"the",  "cold",  "press", "makes", "oil",   "from",
                                          "ripe", "fruit", "and",   "a",     "stone", "in",
                                          "12",   "rooms", "on",    "hills", "with",  "water"};
  Rng rng(seed);
  std::string text;
  while (text.size() < 6000) {
    text += words[rng.below(words.size())];
    text += rng.below(9) == 0 ? ".\n" : " ";
  }
  write_file(file, text);
}

}  // namespace coldpress::test
