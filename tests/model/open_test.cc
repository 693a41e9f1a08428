// Model::open on folders that are not what they say: one clear sentence each, never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/model.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
using Shapes = std::map<std::string, std::vector<int64_t>>;

Json config_json() {
  return Json::parse(R"({"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 48,
    "vocab_size": 40, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
}

Shapes llama_shapes() {
  Shapes shapes = {{"model.embed_tokens.weight", {40, 32}}, {"model.norm.weight", {32}}};
  for (const std::string block : {"model.layers.0.", "model.layers.1."}) {
    shapes[block + "input_layernorm.weight"] = {32};
    shapes[block + "self_attn.q_proj.weight"] = {32, 32};
    shapes[block + "self_attn.k_proj.weight"] = {16, 32};
    shapes[block + "self_attn.v_proj.weight"] = {16, 32};
    shapes[block + "self_attn.o_proj.weight"] = {32, 32};
    shapes[block + "post_attention_layernorm.weight"] = {32};
    shapes[block + "mlp.gate_proj.weight"] = {48, 32};
    shapes[block + "mlp.up_proj.weight"] = {48, 32};
    shapes[block + "mlp.down_proj.weight"] = {32, 48};
  }
  return shapes;
}

void write_safetensors(const std::filesystem::path& path, const Shapes& shapes, float value = 0.25F,
                       DType type = DType::kF32) {
  std::vector<SafetensorsWriter::Declaration> declared;
  for (const auto& [name, shape] : shapes) declared.push_back({name, type, shape});
  auto writer = SafetensorsWriter::create(path, declared, {});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  for (const auto& [name, shape] : shapes) {
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    std::vector<std::byte> bytes(static_cast<std::size_t>(count * dtype_size(type)));
    if (type == DType::kF32) {
      const std::vector<float> values(static_cast<std::size_t>(count), value);
      std::memcpy(bytes.data(), values.data(), bytes.size());
    }
    ASSERT_TRUE(writer->write(name, bytes).ok());
  }
  ASSERT_TRUE(writer->finish().ok());
}

void expect_refused(const std::filesystem::path& path, const std::string& part) {
  const auto model = Model::open(path);
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.status().message(), HasSubstr(part));
  EXPECT_THAT(model.status().message(), HasSubstr(path.filename().string()));
}

TEST(OpenFolder, ReadsNamesShapesAndTaps) {
  const TempFolder folder;
  spill(folder / "config.json", config_json().dump());
  write_safetensors(folder / "model.safetensors", llama_shapes());
  const auto model = Model::open(folder.path());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->tensors().size(), llama_shapes().size());
  EXPECT_EQ((*model)->find("model.norm.weight")->shard, "model.safetensors");
  EXPECT_EQ((*model)->find("model.norm.weight")->type, "F32");
  const std::vector<Tap> taps = (*model)->taps(1);
  ASSERT_EQ(taps.size(), 4U);
  EXPECT_EQ(taps[0].linears.size(), 3U);
  EXPECT_EQ(taps[0].linears[1].tensor_name, "model.layers.1.self_attn.k_proj.weight");
  EXPECT_EQ(taps[0].linears[1].out, 16);
  EXPECT_EQ(taps[1].linears.size(), 1U);
  EXPECT_EQ(taps[2].linears.size(), 2U);
  EXPECT_EQ(taps[3].width, 48);
  EXPECT_FALSE((*model)->role_tensor("output", 0).has_value());  // tied
  EXPECT_FALSE((*model)->load("no.such.tensor").ok());
}

TEST(OpenFolder, RefusesWhatIsNotThere) {
  const TempFolder folder;
  expect_refused(folder / "nowhere", "no such file or folder");
  expect_refused(folder.path(), "config.json");
  spill(folder / "config.json", config_json().dump());
  expect_refused(folder.path(), "model.safetensors");
}

TEST(OpenFolder, RefusesAMissingTensor) {
  const TempFolder folder;
  spill(folder / "config.json", config_json().dump());
  Shapes shapes = llama_shapes();
  shapes.erase("model.layers.1.mlp.up_proj.weight");
  write_safetensors(folder / "model.safetensors", shapes);
  expect_refused(folder.path(), "model.layers.1.mlp.up_proj.weight");
}

TEST(OpenFolder, RefusesARoleUnderTwoNames) {
  const TempFolder folder;
  spill(folder / "config.json", config_json().dump());
  Shapes shapes = llama_shapes();
  shapes["language_model.model.norm.weight"] = {32};
  write_safetensors(folder / "model.safetensors", shapes);
  expect_refused(folder.path(), "'language_model.model.norm.weight' play the same role");
}

// The flags of a larger model and of the language model in it contradict each other in published
// checkpoints, so that what is stored counts.
TEST(OpenFolder, AnOutputMatrixOfItsOwnIsUsedInsideALargerModel) {
  const auto opened_tied = [](bool has_output, bool same, bool flag) {
    const TempFolder folder;
    const Json config = {
        {"model_type", "llava"}, {"tie_word_embeddings", flag}, {"text_config", config_json()}};
    spill(folder / "config.json", config.dump());
    Shapes shapes;
    for (const auto& [name, shape] : llama_shapes()) shapes["language_model." + name] = shape;
    Shapes output = {{"language_model.lm_head.weight", {40, 32}}};
    write_safetensors(folder / "a.safetensors", shapes);
    if (has_output) write_safetensors(folder / "b.safetensors", output, same ? 0.25F : 0.5F);
    Json index;
    for (const auto& [name, shape] : shapes) index["weight_map"][name] = "a.safetensors";
    if (has_output) index["weight_map"][output.begin()->first] = "b.safetensors";
    spill(folder / "model.safetensors.index.json", index.dump());
    const auto model = Model::open(folder.path());
    EXPECT_TRUE(model.ok() || !flag) << model.status().message();
    return model.ok() && (*model)->config().tied_embeddings;
  };
  EXPECT_TRUE(opened_tied(false, false, true));
  EXPECT_TRUE(opened_tied(true, true, true));
  EXPECT_FALSE(opened_tied(true, false, true));
  EXPECT_FALSE(opened_tied(true, true, false));
  EXPECT_FALSE(opened_tied(false, false, false));  // refused: its output is missing
}

TEST(OpenFolder, RefusesAWrongShape) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{32, 16}, {16, 33}, {16 * 32}, {1, 16, 32}, {}}) {
    const TempFolder folder;
    spill(folder / "config.json", config_json().dump());
    Shapes shapes = llama_shapes();
    shapes["model.layers.0.self_attn.v_proj.weight"] = shape;
    write_safetensors(folder / "model.safetensors", shapes);
    expect_refused(folder.path(), "model.layers.0.self_attn.v_proj.weight");
  }
}

TEST(OpenFolder, RefusesTypesThatAreNoWeights) {
  const TempFolder folder;
  spill(folder / "config.json", config_json().dump());
  write_safetensors(folder / "model.safetensors", llama_shapes(), 0, DType::kI8);
  expect_refused(folder.path(), "I8");
}

TEST(OpenFolder, RefusesMoreBlocksThanTheFileHas) {
  const TempFolder folder;
  Json json = config_json();
  json["num_hidden_layers"] = 3;
  spill(folder / "config.json", json.dump());
  write_safetensors(folder / "model.safetensors", llama_shapes());
  expect_refused(folder.path(), "model.layers.2.");
}

TEST(OpenFolder, LoadRefusesWeightsThatAreNotFinite) {
  const TempFolder folder;
  spill(folder / "config.json", config_json().dump());
  write_safetensors(folder / "model.safetensors", llama_shapes(),
                    std::numeric_limits<float>::infinity());
  const auto model = Model::open(folder.path());
  ASSERT_TRUE(model.ok());
  const auto block = BlockWeights::load(**model, 0);
  ASSERT_FALSE(block.ok());
  EXPECT_THAT(block.status().message(), HasSubstr("NaN or infinity"));
}

// Two shards and their index; `edit` spoils the index.
void open_sharded(const std::function<void(Json& weight_map)>& edit, const std::string& refusal) {
  const TempFolder folder;
  spill(folder / "config.json", config_json().dump());
  Shapes first;
  Shapes second;
  Json index;
  for (const auto& [name, shape] : llama_shapes()) {
    const bool early = name.find("layers.1") == std::string::npos;
    (early ? first : second)[name] = shape;
    index["weight_map"][name] = early ? "a.safetensors" : "b.safetensors";
  }
  write_safetensors(folder / "a.safetensors", first);
  write_safetensors(folder / "b.safetensors", second);
  edit(index["weight_map"]);
  spill(folder / "model.safetensors.index.json", index.dump());
  const auto model = Model::open(folder.path());
  if (refusal.empty()) {
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_EQ((*model)->find("model.layers.1.input_layernorm.weight")->shard, "b.safetensors");
    return;
  }
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(model.status().message(), HasSubstr(refusal));
}

TEST(OpenSharded, ReadsEveryShard) {
  open_sharded([](Json&) {}, "");
}

TEST(OpenSharded, RefusesShardsOutsideTheFolder) {
  for (const char* file : {"../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", ".", ""}) {
    open_sharded([file](Json& map) { map["model.norm.weight"] = file; }, "plain name");
  }
  open_sharded([](Json& map) { map["model.norm.weight"] = 3; }, "plain name");
}

TEST(OpenSharded, RefusesATensorThatIsNotInItsShard) {
  open_sharded([](Json& map) { map["model.norm.weight"] = "b.safetensors"; }, "model.norm.weight");
  open_sharded([](Json& map) { map["extra.weight"] = "a.safetensors"; }, "extra.weight");
}

TEST(OpenSharded, RefusesAMissingShardAndAnEmptyMap) {
  open_sharded([](Json& map) { map["model.norm.weight"] = "c.safetensors"; }, "c.safetensors");
  open_sharded([](Json& map) { map = Json::object(); }, "weight_map");
  open_sharded([](Json& map) { map = "a.safetensors"; }, "weight_map");
}

// A GGUF of metadata and an embedding alone: enough to reach every check of the metadata.
void expect_gguf_refused(const std::string& key, const std::optional<GgufValue>& value,
                         const std::string& refusal) {
  const TempFolder folder;
  std::map<std::string, GgufValue> metadata = {
      {"general.architecture", GgufValue::string("llama")},
      {"llama.block_count", GgufValue::u32(1)},
      {"llama.embedding_length", GgufValue::u32(32)},
      {"llama.feed_forward_length", GgufValue::u32(48)},
      {"llama.attention.head_count", GgufValue::u32(2)},
      {"llama.attention.layer_norm_rms_epsilon", GgufValue::f32(1e-5F)},
  };
  if (value) {
    metadata.insert_or_assign(key, *value);
  } else {
    metadata.erase(key);
  }
  auto writer = GgufWriter::create(folder / "model.gguf", {metadata.begin(), metadata.end()},
                                   {{"token_embd.weight", {40, 32}, kGgmlF32}});
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->write("token_embd.weight", std::vector<std::byte>(40 * 32 * 4)).ok());
  ASSERT_TRUE(writer->finish().ok());
  expect_refused(folder / "model.gguf", refusal);
}

TEST(OpenGguf, RefusesBadMetadataNamingTheKey) {
  expect_gguf_refused("general.architecture", std::nullopt, "general.architecture");
  expect_gguf_refused("general.architecture", GgufValue::string("mamba"), "llama");
  expect_gguf_refused("llama.block_count", std::nullopt, "llama.block_count");
  expect_gguf_refused("llama.block_count", GgufValue::u32(1'000'000'000), "llama.block_count");
  expect_gguf_refused("llama.attention.head_count", GgufValue::u32(0), "head_count");
  expect_gguf_refused("llama.attention.head_count", GgufValue::string("2"), "head_count");
  expect_gguf_refused("llama.attention.head_count", GgufValue::u32s({2, 3}), "block to block");
  expect_gguf_refused("llama.attention.head_count_kv", GgufValue::u32(3), "head_count_kv");
  expect_gguf_refused("llama.rope.dimension_count", GgufValue::u32(8), "rope.dimension_count");
  expect_gguf_refused("llama.rope.scaling.type", GgufValue::string("yarn"), "rope.scaling.type");
  expect_gguf_refused("llama.rope.freq_base", GgufValue::f32(std::nanf("")), "rope.freq_base");
  expect_gguf_refused("llama.expert_count", GgufValue::u32(8), "expert_used_count");
  // The metadata is sound: now the tensors are missing.
  expect_gguf_refused("llama.context_length", GgufValue::u32(64), "output_norm.weight");
}

TEST(OpenGguf, RefusesOtherFiles) {
  const TempFolder folder;
  spill(folder / "model.gguf", "not a model");
  expect_refused(folder / "model.gguf", "");
}

}  // namespace
}  // namespace coldpress
