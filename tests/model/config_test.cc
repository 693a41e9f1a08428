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
  for (const char* unknown : {"blk.7.attn_x.weight", "blk..attn_q.weight", "blk.07.attn_q.weight",
                              "blk.-1.attn_q.weight", "blk.99999999999.attn_q.weight"}) {
    EXPECT_FALSE(rename_tensor(llama, Naming::kGguf, Naming::kHf, unknown).has_value()) << unknown;
  }
}

}  // namespace
}  // namespace coldpress
