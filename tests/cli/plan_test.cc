// coldpress plan: every option shows, and what cannot be done is refused before any work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"
#include "tests/model/packed_files.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;

class PlanVerb : public testing::Test {
 protected:
  void SetUp() override {
    model_ = folder_ / "model";
    text_ = folder_ / "text.txt";
    write_tiny_model(model_);
    write_tiny_text(text_);
  }
  CommandResult plan(const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"plan", model_, "--calibration", text_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_coldpress(arguments, {.environment = {{"XDG_CACHE_HOME", folder_ / "cache"}}});
  }
  Json plan_json(std::vector<std::string> options) {
    options.push_back("--json");
    const CommandResult result = plan(options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    auto json = parse_json(result.out, "stdout");
    EXPECT_TRUE(json.ok());
    return json.ok() ? *json : Json();
  }
  TempFolder folder_;
  fs::path model_;
  fs::path text_;
};

TEST_F(PlanVerb, TellsWhatHappensToEveryTensor) {
  const CommandResult result = plan({"--bits", "3"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ContainsRegex("model.layers.0.mlp.up_proj.weight +256x128 +quantise"));
  EXPECT_THAT(result.out, ContainsRegex("model.norm.weight +128 +copy +F32 +F32 +512"));
  EXPECT_THAT(result.out, HasSubstr("14 of 21 tensors quantised"));
  EXPECT_THAT(result.out, HasSubstr("128 windows of 512 tokens (" + text_.string() + ")"));
}

TEST_F(PlanVerb, EveryTensorOfTheSourceIsInTheJson) {
  const Json json = plan_json({"--bits", "3"});
  ASSERT_EQ(json["tensors"].size(), 21u);
  int quantised = 0;
  for (const auto& tensor : json["tensors"]) {
    quantised += tensor["action"] == "quantise" ? 1 : 0;
    EXPECT_TRUE(tensor["action"] == "quantise" || tensor.contains("reason")) << tensor;
  }
  EXPECT_EQ(quantised, kTinyLinears);
}

TEST_F(PlanVerb, PartsOfPackedWeightsAreListed) {
  const fs::path packed = folder_ / "packed";
  fs::create_directory(packed);
  spill(packed / "config.json",
        packed_config({{"quant_method", "fp8"}, {"weight_block_size", {32, 32}}}).dump());
  RawTensors tensors = packed_rest();
  for (const auto& [name, size] : packed_linears(0)) {
    const Packed weight = pack_fp8(name, size.first, size.second, 32, 32, "_scale_inv", 1);
    for (const auto& [part, content] : weight.parts) tensors[part] = content;
  }
  write_raw(packed / "model.safetensors", tensors);
  const CommandResult result =
      run_coldpress({"plan", packed, "--bits", "4", "--calibration", text_, "--seqlen", "64"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ContainsRegex("q_proj.weight_scale_inv +[0-9x]+ +drop +F32"));
  EXPECT_THAT(result.out, HasSubstr("q_proj.weight, which has its values"));
}

TEST_F(PlanVerb, TheSeedIsInTheJson) {
  EXPECT_TRUE(plan_json({"--bits", "3"})["calibration_seed"].is_null());
  EXPECT_EQ(plan_json({"--bits", "3", "--seed", "7"})["calibration_seed"], 7);
}

TEST_F(PlanVerb, EachOptionOfTheRecipeArrives) {
  const Json recipe = plan_json({"--bits", "5", "--group", "32", "--method", "gptq", "--clip",
                                 "none", "--symmetric", "--samples", "7", "--seqlen", "33",
                                 "--dense-type", "bf16", "--effort", "2"})["recipe"];
  EXPECT_EQ(recipe["method"], "gptq");
  EXPECT_EQ(recipe["grid"]["bits"], 5);
  EXPECT_EQ(recipe["grid"]["group"], 32);
  EXPECT_EQ(recipe["grid"]["symmetric"], true);
  EXPECT_EQ(recipe["grid"]["clip"], "none");
  EXPECT_EQ(recipe["calibration"]["samples"], 7);
  EXPECT_EQ(recipe["calibration"]["seqlen"], 33);
  EXPECT_EQ(recipe["dense_type"], "BF16");
  EXPECT_EQ(recipe["solver"]["effort"], 2);
}

TEST_F(PlanVerb, OutliersArriveCostBitsAndAreRefusedElsewhere) {
  const std::vector<std::string> some = {
      "--bits",     "3",    "--method",       "quantease-outliers",
      "--outliers", "0.01", "--outlier-mode", "columns"};
  const Json plan_with = plan_json(some);
  EXPECT_EQ(plan_with["recipe"]["solver"]["outliers"], 0.01);
  EXPECT_EQ(plan_with["recipe"]["solver"]["outlier_mode"], "columns");
  EXPECT_GT(plan_with["bits_per_weight"], plan_json({"--bits", "3"})["bits_per_weight"]);
  expect_refusal(plan({"--bits", "3", "--outliers", "0.01"}), 1, {"admm-q", "quantease-outliers"});
}

TEST_F(PlanVerb, TheStartArrivesAndIsRefusedWhereItIsNotUsed) {
  const Json recipe =
      plan_json({"--bits", "3", "--method", "quantease", "--init", "gptq"})["recipe"];
  EXPECT_EQ(recipe["init"], "gptq");
  expect_refusal(plan({"--bits", "3", "--init", "gptq"}), 1, {"--init", "admm-q", "quantease"});
  expect_refusal(plan({"--bits", "3", "--method", "quantease", "--init", "magic"}), 1,
                 {"magic", "gptq"});
  expect_refusal(plan({"--bits", "3", "--method", "quantease", "--init", "gptq-outliers"}), 1,
                 {"gptq-outliers", "admm-q"});
}

TEST_F(PlanVerb, ScaleTypesArriveAndAreCounted) {
  const auto bits = [&](const std::string& type) {
    const Json plan = plan_json({"--bits", "3", "--group", "32", "--scale-type", type});
    return plan["bits_per_weight"].get<double>();
  };
  EXPECT_EQ(plan_json({"--bits", "3"})["recipe"]["grid"]["scale_type"], "F16");
  EXPECT_DOUBLE_EQ(bits("f16"), 3 + 19.0 / 32);
  EXPECT_EQ(bits("bf16"), bits("f16"));
  EXPECT_DOUBLE_EQ(bits("f32"), bits("f16") + 16.0 / 32);
}

TEST_F(PlanVerb, TableGridsArriveAndRefuseOtherBits) {
  for (const std::string grid : {"nf4", "fp4"}) {
    EXPECT_EQ(plan_json({"--bits", "4", "--grid", grid})["recipe"]["grid"]["kind"], grid);
    expect_refusal(plan({"--bits", "3", "--grid", grid}), 1, {grid, "--bits 4"});
    expect_refusal(plan({"--bits", "4", "--grid", grid, "--symmetric"}), 1, {"--symmetric", grid});
  }
  EXPECT_EQ(plan_json({"--bits", "4"})["recipe"]["grid"]["kind"], "affine");
  expect_refusal(plan({"--bits", "4", "--grid", "nf5"}), 1, {"nf5", "affine", "fp4", "nf4"});
}

TEST_F(PlanVerb, TheDefaultsAreThoseOfTheDocumentation) {
  const Json recipe = plan_json({"--bits", "3"})["recipe"];
  EXPECT_EQ(recipe["method"], "admm-q");
  EXPECT_EQ(recipe["grid"]["group"], 0);
  EXPECT_EQ(recipe["grid"]["symmetric"], false);
  EXPECT_EQ(recipe["grid"]["clip"], "hessian");
  EXPECT_EQ(recipe["calibration"]["samples"], 128);
  EXPECT_EQ(recipe["calibration"]["seqlen"], 512);
  EXPECT_EQ(recipe["dense_type"], "F16");
  EXPECT_EQ(recipe["solver"]["effort"], 3);
}

TEST_F(PlanVerb, ChannelAndZeroAreTheSameGroup) {
  EXPECT_EQ(plan({"--bits", "3", "--group", "channel"}).out,
            plan({"--bits", "3", "--group", "0"}).out);
}

TEST_F(PlanVerb, MoreThreadsNeedMoreMemory) {
  EXPECT_LT(plan_json({"--bits", "3", "--threads", "1"})["predicted_peak_bytes"],
            plan_json({"--bits", "3", "--threads", "8"})["predicted_peak_bytes"]);
}

TEST_F(PlanVerb, SaysHowToFetchTheDefaultText) {
  const CommandResult result = run_coldpress(
      {"plan", model_, "--bits", "3"}, {.environment = {{"XDG_CACHE_HOME", folder_ / "cache"}}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("run coldpress fetch c4"));
}

TEST_F(PlanVerb, RefusesAGroupThatDoesNotDivide) {
  expect_refusal(plan({"--bits", "3", "--group", "48"}), 1, {"48", "self_attn", "64"});
}

TEST_F(PlanVerb, RefusesAnUnknownMethodAndListsTheKnown) {
  expect_refusal(plan({"--bits", "3", "--method", "magic"}), 1,
                 {"magic", "rtn", "gptq", "quantease", "admm-q"});
}

TEST_F(PlanVerb, RefusesBadValuesAsUsageErrors) {
  expect_refusal(plan({}), 2, {"--bits", "--type"});
  expect_refusal(plan({"--bits", "9"}), 2, {"--bits"});
  expect_refusal(plan({"--bits", "3", "--group", "some"}), 2, {"--group", "some"});
  expect_refusal(plan({"--bits", "3", "--clip", "tight"}), 2, {"--clip"});
  expect_refusal(plan({"--bits", "3", "--dense-type", "f8"}), 2, {"--dense-type"});
  expect_refusal(plan({"--bits", "3", "--effort", "6"}), 2, {"--effort"});
  expect_refusal(plan({"--bits", "3", "--threads", "0"}), 2, {"--threads"});
}

TEST_F(PlanVerb, ShowsTheTypesOfAMix) {
  const CommandResult result = plan({"--type", "q4_k_m", "--allow-fallback"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ContainsRegex("output.weight +264x128 +f16 +q8_0 +35904 +8.5000"));
  EXPECT_THAT(result.out, ContainsRegex("blk.0.attn_q.weight +128x128 .* instead of q4_K"));
  EXPECT_THAT(result.out, ContainsRegex("blk.1.attn_norm.weight +128 +f32 +f32 +512 .* kept"));
  EXPECT_THAT(result.out, ContainsRegex("Q4_K_M: 16 of 21 tensors quantised, [0-9]+ bytes, "));
}

TEST_F(PlanVerb, EachOptionOfTheTypesCounts) {
  const auto types = [&](std::vector<std::string> options) {
    options.push_back("--allow-fallback");
    const Json json = plan_json(std::move(options));
    std::map<std::string, std::string> out;
    uint64_t bytes = 0;
    for (const Json& tensor : json["tensors"]) {
      out[tensor["name"]] = tensor["type"];
      bytes += tensor["bytes"].get<uint64_t>();
    }
    EXPECT_EQ(json["bytes"], bytes);
    return out;
  };
  const std::string q = "blk.0.attn_q.weight";
  const std::string v = "blk.0.attn_v.weight";
  auto plain = types({"--type", "Q4_0"});
  EXPECT_EQ(plain["output.weight"], "q8_0");
  EXPECT_EQ(plain["token_embd.weight"], "q4_0");
  EXPECT_EQ(plain[q], "q4_0");
  EXPECT_EQ(types({"--type", "Q4_0", "--pure"})["output.weight"], "q4_0");
  auto ruled =
      types({"--type", "Q4_0", "--tensor-type", "attn_[kv]=q8_0", "--tensor-type", "blk.0=iq4_nl"});
  EXPECT_EQ(ruled[v], "q8_0");
  EXPECT_EQ(ruled[q], "iq4_nl");
  EXPECT_EQ(ruled["blk.1.attn_q.weight"], "q4_0");
  EXPECT_EQ(types({"--type", "Q4_0", "--output-tensor-type", "f16"})["output.weight"], "f16");
  EXPECT_EQ(types({"--type", "Q4_0", "--token-embedding-type", "Q5_1"})["token_embd.weight"],
            "q5_1");
}

TEST_F(PlanVerb, TypesThatDoNotFitAreRefusedWithTheirCost) {
  expect_refusal(plan({"--type", "Q4_K_S"}), 1,
                 {"do not fit", "128 columns", "q4_K", "bytes more", "--allow-fallback"});
}

TEST_F(PlanVerb, TypesAreCheckedAsUsage) {
  expect_refusal(plan({"--type", "Q9_K"}), 2, {"Q9_K", "Q4_K_M"});
  expect_refusal(plan({"--type", "Q4_0", "--bits", "4"}), 2, {"--bits", "--type"});
  expect_refusal(plan({"--bits", "4", "--pure"}), 2, {"--pure", "--type"});
  expect_refusal(plan({"--type", "Q4_0", "--tensor-type", "attn_v"}), 2, {"REGEX=TYPE"});
  expect_refusal(plan({"--type", "Q4_0", "--output-tensor-type", "q9"}), 2, {"q9"});
  expect_refusal(plan({"--type", "Q4_0", "--token-embedding-type", "i8"}), 2, {"i8"});
}

TEST_F(PlanVerb, RefusesAMissingText) {
  expect_refusal(run_coldpress({"plan", model_, "--bits", "3", "--calibration", "nowhere.txt"}), 1,
                 {"nowhere.txt", "c4"});
}

}  // namespace
}  // namespace coldpress::test
