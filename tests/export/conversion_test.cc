// Writing the container that the source did not come in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "export/config_match.h"
#include "export/export.h"
#include "export/layout.h"
#include "io/json.h"
#include "tests/export/round_trip.h"
#include "tests/export/tiny_models.h"
#include "tests/tokenizer/synthetic_vocab.h"
#include "tokenizer/hf_vocab.h"
#include "tokenizer/tokenizer.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;
using How = ExportedTensor::How;
using test::add_tokenizer;
using test::difference;
using test::kGeluTable;
using test::kManifest;
using test::kSameFunction;
using test::llama_logits;
using test::our_logits;
using test::rewrite;

TEST(HfToGguf, IsTheSameFunctionForUsAndForLlamaCpp) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, true);
  add_tokenizer(folder / "in", test::byte_level_json());
  const auto source = test::open_model(folder / "in");
  const Status s = rewrite(*source, folder / "out.gguf", DType::kF32);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto written = test::open_model(folder / "out.gguf");
  const MatrixF expected = our_logits(*source);
  EXPECT_LT(difference(expected, our_logits(*written)), kSameFunction);
  EXPECT_LT(difference(expected, llama_logits(folder / "out.gguf")), kSameFunction);
}

TEST(HfToGguf, TellsWhatBecomesOfEachTensor) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF16, false);
  add_tokenizer(folder / "in", test::byte_level_json());
  const auto source = test::open_model(folder / "in");
  const auto names = test::names_of(test::made_up_solutions(*source, DType::kF16));
  const auto sink = open_export({*source, folder / "out.gguf", DType::kF16, names, "1"});
  ASSERT_TRUE(sink.ok()) << sink.status().message();
  std::map<std::string, ExportedTensor> by_source;
  for (const ExportedTensor& t : (*sink)->tensors()) by_source[t.source_name] = t;
  EXPECT_EQ(by_source.at("model.layers.1.self_attn.q_proj.weight").name, "blk.1.attn_q.weight");
  EXPECT_EQ(by_source.at("model.layers.1.self_attn.q_proj.weight").how, How::kQuantised);
  EXPECT_EQ(by_source.at("model.norm.weight").how, How::kConverted);
  EXPECT_EQ(by_source.at("model.norm.weight").stored_type, "f32");
  EXPECT_EQ(by_source.at("lm_head.weight").how, How::kCopied);
  EXPECT_EQ(by_source.at("lm_head.weight").stored_type, "f16");
}

TEST(HfToGguf, PutValuesComeBackInTheirRowsOrder) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, false);
  add_tokenizer(folder / "in", test::byte_level_json());
  const auto source = test::open_model(folder / "in");
  ASSERT_TRUE(rewrite(*source, folder / "out.gguf", DType::kF32).ok());
  const auto written = test::open_model(folder / "out.gguf");
  const auto before = source->load("model.layers.0.self_attn.k_proj.weight");
  const auto after = written->load("blk.0.attn_k.weight");
  ASSERT_TRUE(before.ok() && after.ok());
  // Pair p of head h: halves at 16 h + p and 16 h + 8 + p become neighbours.
  for (int64_t h = 0; h < test::kKvHeads; ++h) {
    for (int64_t p = 0; p < 8; ++p) {
      EXPECT_EQ((*after)(16 * h + 2 * p, 3), (*before)(16 * h + p, 3));
      EXPECT_EQ((*after)(16 * h + 2 * p + 1, 3), (*before)(16 * h + 8 + p, 3));
    }
  }
}

TEST(HfToGgufToHf, GivesBackTheFolder) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, false);
  add_tokenizer(folder / "in", test::byte_level_json());
  const auto source = test::open_model(folder / "in");
  ASSERT_TRUE(rewrite(*source, folder / "mid.gguf", DType::kF32).ok());
  const auto middle = test::open_model(folder / "mid.gguf");
  const Status s = rewrite(*middle, folder / "out", DType::kF32);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto result = test::open_model(folder / "out");
  ASSERT_EQ(result->tensors().size(), source->tensors().size());
  for (const SourceTensor& before : source->tensors()) {
    const SourceTensor* after = result->find(before.name);
    ASSERT_NE(after, nullptr) << before.name;
    EXPECT_TRUE(
        std::equal(before.data.begin(), before.data.end(), after->data.begin(), after->data.end()))
        << before.name;
  }
  EXPECT_EQ(first_difference(source->config(), result->config()), std::nullopt);
  EXPECT_THAT(slurp(folder / "out/config.json"), HasSubstr(R"("torch_dtype": "float32")"));
  EXPECT_THAT(slurp(folder / "out/config.json"), HasSubstr(R"("rms_norm_eps": 1e-06)"));
  EXPECT_THAT(slurp(folder / "out/config.json"), HasSubstr(R"("LlamaForCausalLM")"));

  const auto before = Tokenizer::open(folder / "in");
  const auto after = Tokenizer::open(folder / "out");
  ASSERT_TRUE(before.ok() && after.ok()) << after.status().message();
  for (const std::string text : {"hello hello 12 hello", "\xe4\xb8\xad <tool>x"}) {
    EXPECT_EQ(*(*before)->encode(text), *(*after)->encode(text));
  }
  EXPECT_EQ((*before)->eos(), (*after)->eos());
}

TEST(GgufToHf, BlockTypesBecomeDense) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "any", DType::kF32, false);
  add_tokenizer(folder / "any", test::byte_level_json());
  const auto vocabulary = hf_tokenizer_metadata(folder / "any");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  auto metadata = test::tiny_gguf_metadata();
  for (const auto& entry : *vocabulary) metadata.push_back(entry);
  test::write_tiny_gguf(folder / "in.gguf", metadata);
  const auto source = test::open_model(folder / "in.gguf");
  const auto names = test::names_of(test::made_up_solutions(*source, DType::kBF16));
  const auto sink = open_export({*source, folder / "out", DType::kBF16, names, "1"});
  ASSERT_TRUE(sink.ok()) << sink.status().message();
  for (const ExportedTensor& t : (*sink)->tensors()) {
    if (t.source_name == "token_embd.weight") {
      EXPECT_EQ(t.how, How::kConverted);
      EXPECT_EQ(t.stored_type, "BF16");
    } else if (t.source_name == "output.weight") {
      EXPECT_EQ(t.how, How::kCopied);
      EXPECT_EQ(t.stored_type, "F16");
    } else if (t.source_name == "output_norm.weight") {
      EXPECT_EQ(t.how, How::kCopied);
      EXPECT_EQ(t.stored_type, "F32");
    } else if (!t.name.ends_with("norm.weight")) {
      EXPECT_TRUE(t.how == How::kQuantised || !t.name.ends_with("proj.weight")) << t.name;
    }
  }
  const Status s = rewrite(*source, folder / "full", DType::kF32);
  ASSERT_TRUE(s.ok()) << s.message();
  const auto written = test::open_model(folder / "full");
  EXPECT_LT(difference(our_logits(*source), our_logits(*written)), kSameFunction);
}

TEST(GgufToHf, ATokenizerThatCannotBeWrittenIsRefusedFirst) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "any", DType::kF32, false);
  add_tokenizer(folder / "any", test::sentencepiece_json(), "</s>");
  const auto vocabulary = hf_tokenizer_metadata(folder / "any");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  auto metadata = test::tiny_gguf_metadata();
  for (const auto& entry : *vocabulary) metadata.push_back(entry);
  test::write_tiny_gguf(folder / "in.gguf", metadata);
  const auto source = test::open_model(folder / "in.gguf");
  const Status s = open_export({*source, folder / "out", DType::kF16, {}, "1"}).status();
  EXPECT_EQ(s.code(), StatusCode::kUnsupported);
  EXPECT_THAT(s.message(), HasSubstr((folder / "in.gguf").string()));
  EXPECT_THAT(s.message(), HasSubstr("tokenizer"));
  EXPECT_FALSE(fs::exists(folder / "out"));
}

TEST(HfToGguf, AFolderWithoutATokenizerIsRefusedFirst) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, false);
  const auto source = test::open_model(folder / "in");
  const Status s = open_export({*source, folder / "out.gguf", DType::kF16, {}, "1"}).status();
  EXPECT_THAT(s.message(), HasSubstr("tokenizer.json"));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"in"});
}

TEST(HfToGguf, AnUnknownTensorIsRefusedFirst) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, false);
  add_tokenizer(folder / "in", test::byte_level_json());
  auto tensors = test::tiny_tensors();
  tensors.push_back({"model.layers.0.adapter.weight", "", {4}});
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "", {8}});
  test::write_hf_shard(folder / "in/model.safetensors", tensors, 0, tensors.size(), DType::kF32);
  const auto source = test::open_model(folder / "in");
  const Status s = open_export({*source, folder / "out.gguf", DType::kF16, {}, "1"}).status();
  EXPECT_THAT(s.message(), HasSubstr("\"model.layers.0.adapter.weight\" has no counterpart"));
}

TEST(HfToGguf, WhatFollowsFromTheConfigurationIsDropped) {
  const TempFolder folder;
  test::write_tiny_hf(folder / "in", DType::kF32, false);
  add_tokenizer(folder / "in", test::byte_level_json());
  auto tensors = test::tiny_tensors();
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "", {8}});
  test::write_hf_shard(folder / "in/model.safetensors", tensors, 0, tensors.size(), DType::kF32);
  const auto source = test::open_model(folder / "in");
  const auto sink = open_export({*source, folder / "out.gguf", DType::kF16, {}, "1"});
  ASSERT_TRUE(sink.ok()) << sink.status().message();
  const ExportedTensor dropped = (*sink)->tensors().back();
  EXPECT_EQ(dropped.how, How::kDropped);
  EXPECT_THAT(dropped.source_name, HasSubstr("inv_freq"));
  EXPECT_FALSE(dropped.reason.empty());
  EXPECT_TRUE((*sink)->finish(kManifest).ok());
}

TEST(ConfigMatch, SeesEveryField) {
  ModelConfig base;
  base.hidden = 64;
  base.blocks = 2;
  base.heads = 4;
  base.kv_heads = 2;
  base.head_dim = 16;
  base.attention_scale = 0.25;
  base.architecture = "llama";
  base.rope.push_back({.dims = 16});
  EXPECT_EQ(first_difference(base, base), std::nullopt);
  const std::vector<std::function<void(ModelConfig&)>> changes = {
      [](ModelConfig& c) { c.hidden = 65; },
      [](ModelConfig& c) { c.ffn = 1; },
      [](ModelConfig& c) { c.context = 1; },
      [](ModelConfig& c) { c.norm_eps = 2e-5; },
      [](ModelConfig& c) { c.tied_embeddings = true; },
      [](ModelConfig& c) { c.attention_scale = 0.26; },
      [](ModelConfig& c) { c.embedding_scale = 8; },
      [](ModelConfig& c) { c.attention_softcap = 50; },
      [](ModelConfig& c) { c.logit_softcap = 30; },
      [](ModelConfig& c) { c.activation = Activation::kGelu; },
      [](ModelConfig& c) { c.norm = NormKind::kLayer; },
      [](ModelConfig& c) { c.architecture = "qwen3"; },
      [](ModelConfig& c) { c.parallel_residual = true; },
      [](ModelConfig& c) { c.residual_scale = 0.5; },
      [](ModelConfig& c) { c.logit_scale = 0.5; },
      [](ModelConfig& c) { c.alibi_slopes.assign(4, 0.5F); },
      [](ModelConfig& c) { c.position_offset = 2; },
      [](ModelConfig& c) { c.experts = 4; },
      [](ModelConfig& c) { c.normalise_routes = false; },
      [](ModelConfig& c) { c.rope[0].dims = 8; },
      [](ModelConfig& c) {
        c.sliding_window = {0, 16};
      },
      [](ModelConfig& c) { c.rope[0].theta = 5e5; },
      [](ModelConfig& c) { c.rope[0].factors.assign(8, 2.0F); }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    ModelConfig other = base;
    changes[i](other);
    EXPECT_NE(first_difference(base, other), std::nullopt) << i;
  }
  ModelConfig expanded = base;
  expanded.rope.push_back({.dims = 16});
  expanded.sliding_window = {0, 0};
  expanded.rope[0].factors.assign(8, 1.0F);
  EXPECT_EQ(first_difference(base, expanded), std::nullopt);
}

}  // namespace
}  // namespace coldpress
