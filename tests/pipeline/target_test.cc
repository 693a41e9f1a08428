// Pre-flight checks that no command line can ask for, and at sizes of published models.
#include "pipeline/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/safetensors.h"
#include "tests/model/packed_files.h"
#include "tests/pipeline/tiny_runs.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// One block of a Llama with zeros for weights.
void write_block(const fs::path& folder, int64_t hidden, int64_t ffn, int64_t heads,
                 int64_t kv_heads) {
  Json config = test::packed_config({});
  config["hidden_size"] = hidden;
  config["intermediate_size"] = ffn;
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] = kv_heads;
  config["vocab_size"] = 64;
  fs::create_directories(folder);
  spill(folder / "config.json", config.dump());
  const int64_t keys = hidden / heads * kv_heads;
  test::RawTensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t bytes = 2;
    for (const int64_t extent : shape) bytes *= extent;
    tensors[name + ".weight"] = {DType::kBF16, std::move(shape),
                                 std::vector<std::byte>(static_cast<std::size_t>(bytes))};
  };
  add("model.embed_tokens", {64, hidden});
  add("lm_head", {64, hidden});
  add("model.norm", {hidden});
  const std::string p = "model.layers.0.";
  add(p + "input_layernorm", {hidden});
  add(p + "post_attention_layernorm", {hidden});
  add(p + "self_attn.q_proj", {hidden, hidden});
  add(p + "self_attn.k_proj", {keys, hidden});
  add(p + "self_attn.v_proj", {keys, hidden});
  add(p + "self_attn.o_proj", {hidden, hidden});
  add(p + "mlp.gate_proj", {ffn, hidden});
  add(p + "mlp.up_proj", {ffn, hidden});
  add(p + "mlp.down_proj", {hidden, ffn});
  test::write_raw(folder / "model.safetensors", tensors);
}

Recipe codes(int bits, int64_t group, bool symmetric, DType type = DType::kF16) {
  Recipe r;
  r.code_format = "compressed-tensors";
  r.grid.bits = bits;
  r.grid.group = group;
  r.grid.symmetric = symmetric;
  r.grid.scale_type = type;
  r.dense_type = type;
  return r;
}

Status check(const Model& model, const Recipe& recipe, const std::string& loader, int64_t devices) {
  COLDPRESS_ASSIGN_OR_RETURN(const Plan plan, make_plan(model, recipe, 1));
  return check_target(model, plan, {loader, devices}, {});
}

// 29568 feed-forward columns, as Qwen2-72B has: halves are no multiple of 128.
TEST(Target, GroupsDivideEveryDevicesColumns) {
  const TempFolder folder;
  write_block(folder / "m", 256, 29568, 4, 2);
  const auto model = Model::open(folder / "m").value();
  EXPECT_TRUE(check(*model, codes(4, 128, true), "vllm", 1).ok());
  const auto start = std::chrono::steady_clock::now();
  const Status refused = check(*model, codes(4, 128, true), "vllm", 2);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_THAT(refused.message(), HasSubstr("down_proj.weight has 14784 columns on each of 2"));
  EXPECT_THAT(refused.message(), HasSubstr("use --group 64"));
  const Status taken = check(*model, codes(4, 64, true), "vllm", 2);
  EXPECT_TRUE(taken.ok()) << taken.message();
  // BF16 has the fast kernel only, whose tiles are as wide as that.
  const Status tiles = check(*model, codes(4, 64, true, DType::kBF16), "vllm", 2);
  EXPECT_THAT(tiles.message(), HasSubstr("--dense-type f16"));
}

TEST(Target, KeysAreRepeatedOnMoreDevicesThanHeads) {
  const TempFolder folder;
  write_block(folder / "m", 512, 1024, 4, 2);
  const auto model = Model::open(folder / "m").value();
  for (const int64_t devices : {1, 2, 4}) {
    const Status s = check(*model, codes(4, 128, true, DType::kBF16), "vllm", devices);
    EXPECT_TRUE(s.ok()) << devices << ": " << s.message();
  }
  EXPECT_THAT(check(*model, codes(4, 128, true), "vllm", 8).message(), HasSubstr("use --tp 4"));
}

TEST(Target, FusedLinearsShareAGrid) {
  const TempFolder folder;
  write_block(folder / "m", 256, 512, 4, 2);
  const auto model = Model::open(folder / "m").value();
  Plan plan = make_plan(*model, codes(4, 128, true), 1).value();
  const auto with = [&](const std::string& name, int bits) {
    Plan changed = plan;
    for (PlannedTensor& t : changed.tensors) {
      if (t.name.find(name) != std::string::npos) t.grid.bits = bits;
    }
    return check_target(*model, changed, {"vllm", 1}, {});
  };
  EXPECT_THAT(with("k_proj", 8).message(), HasSubstr("fuses q, k and v"));
  EXPECT_THAT(with("up_proj", 8).message(), HasSubstr("fuses gate and up"));
  EXPECT_TRUE(with("o_proj", 8).ok());
}

TEST(Target, ExpertsHaveNoZeroPoints) {
  const fs::path path = test::tiny("qwen3-moe");
  if (!fs::exists(path)) GTEST_SKIP() << path << " is absent";
  const auto model = Model::open(path).value();
  EXPECT_THAT(check(*model, codes(4, 32, false), "vllm", 1).message(), HasSubstr("--symmetric"));
  EXPECT_TRUE(check(*model, codes(4, 32, true), "vllm", 1).ok());
  EXPECT_TRUE(check(*model, codes(4, 32, true), "transformers", 1).ok());
  Recipe gptq = codes(4, 32, true);
  gptq.code_format = "gptq";
  EXPECT_THAT(check(*model, gptq, "transformers", 1).message(),
              HasSubstr("--format compressed-tensors"));
}

}  // namespace
}  // namespace coldpress
