// config.json readers: the families' keys, and hostile values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "io/json.h"
#include "model/parse_config.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;

Json llama_json() {
  return Json::parse(R"({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
    "vocab_size": 100, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "hidden_act": "silu", "tie_word_embeddings": false})");
}

Result<ModelConfig> parse(const Json& json) { return parse_hf_config(json.dump(), "config.json"); }

TEST(HfConfig, ReadsLlama) {
  const auto config = parse(llama_json());
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->head_dim, 16);  // hidden / heads where head_dim is missing
  EXPECT_DOUBLE_EQ(config->attention_scale, 0.25);
  EXPECT_FALSE(config->tied_embeddings);
  ASSERT_EQ(config->rope.size(), 1U);
  EXPECT_EQ(config->rope[0].theta, 10000.0);
  EXPECT_FALSE(config->rope[0].interleaved);
}

TEST(HfConfig, OldAndNewRopeSpellingsAgree) {
  const char* scaling = R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 64})";
  Json old_style = llama_json();
  old_style["rope_theta"] = 500000.0;
  old_style["rope_scaling"] = Json::parse(scaling);
  Json new_style = llama_json();
  new_style["rope_parameters"] = Json::parse(scaling);
  new_style["rope_parameters"]["rope_theta"] = 500000.0;
  const auto a = parse(old_style);
  const auto b = parse(new_style);
  ASSERT_TRUE(a.ok()) << a.status().message();
  ASSERT_TRUE(b.ok()) << b.status().message();
  EXPECT_EQ(a->rope[0].theta, 500000.0);
  EXPECT_EQ(a->rope[0].theta, b->rope[0].theta);
  EXPECT_EQ(a->rope[0].factors, b->rope[0].factors);
  ASSERT_EQ(a->rope[0].factors.size(), 8U);
  EXPECT_EQ(a->rope[0].factors.front(), 1.0F);  // short waves stay
  EXPECT_EQ(a->rope[0].factors.back(), 8.0F);   // long ones are slowed
}

TEST(HfConfig, LinearScalingDividesEveryFrequency) {
  Json json = llama_json();
  json["rope_scaling"] = Json::parse(R"({"type": "linear", "factor": 4.0})");
  const auto config = parse(json);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->rope[0].factors, std::vector<float>(8, 4.0F));
}

// As published: the inner object leaves out what its family has by default.
TEST(HfConfig, ALanguageModelInsideALargerOne) {
  const auto gemma = parse(Json::parse(R"({"model_type": "gemma3", "eos_token_id": [1, 106],
    "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
      "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
      "sliding_window": 1024},
    "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"}})"));
  ASSERT_TRUE(gemma.ok()) << gemma.status().message();
  EXPECT_EQ(gemma->architecture, "gemma3");
  EXPECT_EQ(gemma->heads, 8);
  EXPECT_EQ(gemma->kv_heads, 4);
  EXPECT_EQ(gemma->head_dim, 256);
  EXPECT_EQ(gemma->vocab, 262208);
  EXPECT_EQ(gemma->context, 131072);
  EXPECT_TRUE(gemma->tied_embeddings);
  EXPECT_TRUE(gemma->inside_larger);
  EXPECT_EQ(gemma->sliding_window[5], 0);
  EXPECT_EQ(gemma->rope[5].factors.front(), 8.0F);

  const auto llava = parse(Json::parse(R"({"model_type": "llava", "tie_word_embeddings": false,
    "text_config": {"max_position_embeddings": 4096, "model_type": "llama",
      "rms_norm_eps": 1e-05, "vocab_size": 32064}})"));
  ASSERT_TRUE(llava.ok()) << llava.status().message();
  EXPECT_EQ(llava->hidden, 4096);
  EXPECT_EQ(llava->ffn, 11008);
  EXPECT_EQ(llava->vocab, 32064);
  EXPECT_FALSE(llava->tied_embeddings);

  const auto pixtral = parse(Json::parse(R"({"model_type": "llava", "text_config": {
    "head_dim": 128, "hidden_size": 5120, "model_type": "mistral", "num_hidden_layers": 40,
    "rope_theta": 1000000000.0, "sliding_window": null, "vocab_size": 131072}})"));
  ASSERT_TRUE(pixtral.ok()) << pixtral.status().message();
  EXPECT_EQ(pixtral->heads, 32);
  EXPECT_EQ(pixtral->kv_heads, 8);
  EXPECT_TRUE(pixtral->sliding_window.empty());

  // The older, flat form.
  Json qwen = llama_json();
  qwen["model_type"] = "qwen2_vl";
  qwen["rope_scaling"] = Json::parse(R"({"type": "mrope", "mrope_section": [4, 2, 2]})");
  const auto flat = parse(qwen);
  ASSERT_TRUE(flat.ok()) << flat.status().message();
  EXPECT_EQ(flat->architecture, "qwen2-vl");
  EXPECT_EQ(flat->rope[0].sections, (std::vector<int64_t>{4, 2, 2}));
  EXPECT_TRUE(flat->rope[0].factors.empty());
}

TEST(HfConfig, SomeBlocksHaveNoExperts) {
  Json json = llama_json();
  json["model_type"] = "qwen3_moe";
  json["num_hidden_layers"] = 6;
  json["num_experts"] = 4;
  json["num_experts_per_tok"] = 2;
  json["moe_intermediate_size"] = 16;
  const auto all = parse(json);
  ASSERT_TRUE(all.ok()) << all.status().message();
  EXPECT_TRUE(all->dense_blocks.empty());
  json["decoder_sparse_step"] = 2;
  json["mlp_only_layers"] = {3, 5};
  const auto some = parse(json);
  ASSERT_TRUE(some.ok()) << some.status().message();
  EXPECT_EQ(some->dense_blocks, (std::vector<bool>{true, false, true, true, true, true}));
  EXPECT_EQ(some->dense_ffn, 96);
  EXPECT_EQ(some->ffn, 16);
  json["mlp_only_layers"] = {1, 3, 5};
  EXPECT_THAT(parse(json).status().message(), HasSubstr("no block with experts"));
  json["mlp_only_layers"] = {-1};
  EXPECT_THAT(parse(json).status().message(), HasSubstr("\"mlp_only_layers\" must be an array"));
  json["mlp_only_layers"] = 3;
  EXPECT_THAT(parse(json).status().message(), HasSubstr("\"mlp_only_layers\" must be an array"));
  json["mlp_only_layers"] = {1};
  json.erase("intermediate_size");
  EXPECT_THAT(parse(json).status().message(), HasSubstr("\"intermediate_size\" is missing"));
}

TEST(HfConfig, HostileInnerConfigurations) {
  const auto error = [](const char* text) {
    const auto config = parse(Json::parse(text));
    return config.ok() ? "" : config.status().message();
  };
  EXPECT_THAT(error(R"({"model_type": "llava", "text_config": {}})"),
              HasSubstr("\"model_type\" is missing"));
  EXPECT_THAT(error(R"({"model_type": "llava", "text_config": {"model_type": 3}})"),
              HasSubstr("must be a string"));
  EXPECT_THAT(error(R"({"model_type": "llava", "text_config": {"model_type": "mllama"}})"),
              HasSubstr("unknown architecture 'mllama'"));
  EXPECT_THAT(error(R"({"model_type": "llava", "text_config": 5})"),
              HasSubstr("unknown architecture 'llava'"));
  Json qwen = llama_json();
  qwen["model_type"] = "qwen2_vl";
  for (const char* sections : {"[4, 2]", "[4, 2, -1]", "[4, 2, 99]", "\"x\"", "[4, 2, 1.5]"}) {
    qwen["rope_scaling"]["type"] = "mrope";
    qwen["rope_scaling"]["mrope_section"] = Json::parse(sections);
    EXPECT_THAT(parse(qwen).status().message(), HasSubstr("mrope_section")) << sections;
  }
}

TEST(HfConfig, GemmaAlternatesWindows) {
  Json json = llama_json();
  json["model_type"] = "gemma3_text";
  json["num_hidden_layers"] = 7;
  json["sliding_window"] = 32;
  json["sliding_window_pattern"] = 3;
  json["query_pre_attn_scalar"] = 64;
  json.erase("tie_word_embeddings");
  json["rope_scaling"] = Json::parse(R"({"rope_type": "linear", "factor": 8.0})");
  const auto config = parse(json);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->sliding_window, (std::vector<int64_t>{32, 32, 0, 32, 32, 0, 32}));
  EXPECT_EQ(config->rope[0].theta, 10000.0);
  EXPECT_EQ(config->rope[2].theta, 1e6);
  EXPECT_TRUE(config->rope[0].factors.empty());  // scaling is for global blocks only
  EXPECT_EQ(config->rope[2].factors.size(), 8U);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_EQ(config->activation, Activation::kGeluTanh);
  EXPECT_DOUBLE_EQ(config->attention_scale, 0.125);
  EXPECT_FLOAT_EQ(static_cast<float>(config->embedding_scale), 8.0F);
  EXPECT_EQ(config->norm_weight_offset, 1.0);
}

TEST(HfConfig, QwenWindowStartsAtItsLayer) {
  Json json = llama_json();
  json["model_type"] = "qwen2";
  json["num_hidden_layers"] = 3;
  json["sliding_window"] = 8;
  json["max_window_layers"] = 2;
  const auto off = parse(json);
  ASSERT_TRUE(off.ok());
  EXPECT_TRUE(off->sliding_window.empty());
  json["use_sliding_window"] = true;
  const auto on = parse(json);
  ASSERT_TRUE(on.ok());
  EXPECT_EQ(on->sliding_window, (std::vector<int64_t>{0, 0, 8}));
}

TEST(HfConfig, UnknownArchitectureListsTheKnown) {
  Json json = llama_json();
  json["model_type"] = "mamba";
  const auto config = parse(json);
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), StatusCode::kUnsupported);
  for (const char* known :
       {"config.json", "mamba", "llama", "mistral", "qwen2", "qwen3", "gemma3_text"}) {
    EXPECT_THAT(config.status().message(), HasSubstr(known));
  }
}

struct BadValue {
  const char* key;
  const char* value;  // JSON; "" removes the key
};

class HfConfigRefuses : public ::testing::TestWithParam<BadValue> {};

TEST_P(HfConfigRefuses, NamingFileAndKey) {
  Json json = llama_json();
  const std::string key = GetParam().key;
  if (GetParam().value[0] == '\0') {
    json.erase(key);
  } else {
    json[key] = Json::parse(GetParam().value);
  }
  const auto config = parse(json);
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.status().message(), HasSubstr("config.json"));
  EXPECT_THAT(config.status().message(), HasSubstr(key));
  EXPECT_LT(config.status().message().size(), 400U);
}

INSTANTIATE_TEST_SUITE_P(
    Values, HfConfigRefuses,
    ::testing::Values(
        BadValue{"model_type", ""}, BadValue{"model_type", "7"}, BadValue{"hidden_size", ""},
        BadValue{"hidden_size", "0"}, BadValue{"hidden_size", "-64"},
        BadValue{"hidden_size", "64.5"}, BadValue{"hidden_size", "\"64\""},
        BadValue{"hidden_size", "1e300"}, BadValue{"hidden_size", "18446744073709551615"},
        BadValue{"hidden_size", "[]"}, BadValue{"hidden_size", "{}"},
        BadValue{"num_hidden_layers", "1000000000"}, BadValue{"num_hidden_layers", "true"},
        BadValue{"num_attention_heads", "0"}, BadValue{"num_attention_heads", "6"},
        BadValue{"num_key_value_heads", "3"}, BadValue{"num_key_value_heads", "8"},
        BadValue{"head_dim", "15"}, BadValue{"head_dim", "9223372036854775807"},
        BadValue{"intermediate_size", "-1"}, BadValue{"vocab_size", ""},
        BadValue{"vocab_size", "4294967296"}, BadValue{"rms_norm_eps", "\"small\""},
        BadValue{"rms_norm_eps", "-1"}, BadValue{"rope_theta", "0"},
        BadValue{"rope_parameters", "[1]"}, BadValue{"rope_scaling", "{\"rope_type\": 1}"},
        BadValue{"rope_scaling", "{\"rope_type\": \"yarn\"}"},
        BadValue{"rope_scaling", "{\"rope_type\": \"linear\"}"},
        BadValue{"rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 0}"},
        BadValue{"partial_rotary_factor", "0.5"}, BadValue{"hidden_act", "\"mish\""},
        BadValue{"tie_word_embeddings", "\"yes\""}));

TEST(HfConfig, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[]", "3", "null", "{", "\"\\ud800\""}) {
    EXPECT_FALSE(parse_hf_config(text, "config.json").ok()) << text;
  }
}

TEST(Table, NamesGoBothWays) {
  for (const Architecture* arch : model_table()) {
    for (const RoleSpec& role : arch->roles) {
      for (const Naming naming : {Naming::kHf, Naming::kGguf}) {
        const std::string name = tensor_name(role, naming, 12);
        if (name.empty()) continue;
        const auto match = match_tensor(*arch, naming, name);
        ASSERT_TRUE(match.has_value()) << arch->name << " " << name;
        EXPECT_EQ(match->role, &role) << arch->name << " " << name;
        EXPECT_EQ(match->block, role.per_block() ? 12 : -1);
      }
    }
  }
}

TEST(Table, RenamesTensors) {
  const Architecture& llama = *find_architecture("llama");
  EXPECT_EQ(rename_tensor(llama, Naming::kGguf, Naming::kHf, "blk.7.attn_q.weight"),
            "model.layers.7.self_attn.q_proj.weight");
  EXPECT_EQ(rename_tensor(llama, Naming::kHf, Naming::kGguf, "model.norm.weight"),
            "output_norm.weight");
  for (const char* inside : {"language_model.model.layers.3.mlp.up_proj.weight",
                             "model.language_model.layers.3.mlp.up_proj.weight",
                             "model.text_model.layers.3.mlp.up_proj.weight"}) {
    EXPECT_EQ(rename_tensor(llama, Naming::kHf, Naming::kGguf, inside), "blk.3.ffn_up.weight");
    EXPECT_FALSE(rename_tensor(llama, Naming::kGguf, Naming::kHf, inside).has_value());
  }
  EXPECT_EQ(rename_tensor(llama, Naming::kHf, Naming::kGguf, "language_model.lm_head.weight"),
            "output.weight");
  EXPECT_FALSE(rename_tensor(llama, Naming::kHf, Naming::kGguf, "vision_model.model.norm.weight"));
  for (const char* unknown : {"blk.7.attn_x.weight", "blk..attn_q.weight", "blk.07.attn_q.weight",
                              "blk.-1.attn_q.weight", "blk.99999999999.attn_q.weight"}) {
    EXPECT_FALSE(rename_tensor(llama, Naming::kGguf, Naming::kHf, unknown).has_value()) << unknown;
  }
}

}  // namespace
}  // namespace coldpress
