// coldpress bench: every row that was asked for, as text and JSON, and refusals before any work.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class BenchLayers : public testing::Test {
 protected:
  void SetUp() override {
    file_ = folder_ / "problems.safetensors";
    write_tiny_problems(file_);
  }
  CommandResult bench(const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"bench", "layers", file_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_coldpress(arguments);
  }
  Json bench_json(std::vector<std::string> options) {
    options.push_back("--json");
    const CommandResult result = bench(options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    auto json = parse_json(result.out, "stdout");
    EXPECT_TRUE(json.ok()) << result.out;
    return json.ok() ? *json : Json();
  }
  TempFolder folder_;
  std::filesystem::path file_;
};

TEST_F(BenchLayers, OutliersCompareFourWaysAtTheirBits) {
  const Json report = bench_json({"--outliers", "0.05", "--effort", "1"});
  ASSERT_EQ(report["rows"].size(), 4U);
  const Json& rows = report["rows"];
  EXPECT_EQ(rows[0]["bits_per_weight"], rows[1]["bits_per_weight"]);
  for (const Json& row : rows) {
    EXPECT_GT(row["mean_error"], 0.0);
    EXPECT_GT(row["bits_per_weight"], 3.0);
  }
  EXPECT_THAT(bench({"--outliers", "0.05", "--effort", "1"}).out, HasSubstr("QuantEase + IHT"));
  EXPECT_NE(bench({"--outliers", "0.05", "--method", "gptq"}).exit_code, 0);
}

TEST_F(BenchLayers, PrintsEveryMethodAndTheBest) {
  const CommandResult result = bench({"--bits", "2", "--group", "32"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("affine, 2 bits, group 32, clipped range"));
  EXPECT_THAT(result.out, ContainsRegex("\nrtn +0\\.[0-9]{5} +0\\."));
  for (const std::string method : {"admm-q", "gptq", "quantease"}) {
    EXPECT_THAT(result.out, HasSubstr("\n" + method + " "));
  }
  EXPECT_THAT(result.out, ContainsRegex("least: [a-z-]+, mean error 0\\.[0-9]+, [0-9.]+ times"));
}

TEST_F(BenchLayers, JsonHasAMeasuredRowForEachMethodGridAndBits) {
  const Json report =
      bench_json({"--grid", "affine,nf4,fp4", "--bits", "2,4", "--method", "rtn,gptq"});
  EXPECT_GT(report["gemm_gflops"].get<double>(), 0);
  std::set<std::string> seen;
  for (const Json& row : report["rows"]) {
    seen.insert(row["grid"].get<std::string>() + row["bits"].dump() +
                row["method"].get<std::string>());
    EXPECT_EQ(row["layers"].size(), 2u);
    EXPECT_GT(row["mean_error"].get<double>(), 0);
    EXPECT_GT(row["multiple_of_bound"].get<double>(), 1);
    EXPECT_GT(row["seconds"].get<double>(), 0);
    EXPECT_TRUE(row.contains("gflops") && row.contains("share_of_gemm_rate"));
  }
  const std::set<std::string> expected = {"affine2rtn", "affine2gptq", "affine4rtn", "affine4gptq",
                                          "nf44rtn",    "nf44gptq",    "fp44rtn",    "fp44gptq"};
  EXPECT_EQ(seen, expected);
}

TEST_F(BenchLayers, TableGridsComeWithTheirBits) {
  const Json rows = bench_json({"--grid", "nf4", "--method", "rtn"})["rows"];
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["bits"], 4);
}

TEST_F(BenchLayers, AblationPrintsEveryRowOfThePaperAtThreeWidths) {
  const CommandResult result = bench({"--ablation"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("affine, 2 bits, group 64"));
  EXPECT_THAT(result.out, HasSubstr("affine, 3 bits, per channel"));
  EXPECT_THAT(result.out, HasSubstr("affine, 4 bits, per channel"));
  const Json rows = bench_json({"--ablation"})["rows"];
  ASSERT_EQ(rows.size(), 15u);
  const std::vector<std::string> names = {"full method, frozen grid", "without preconditioning",
                                          "fixed rho", "without local search",
                                          "with moving scales"};
  for (std::size_t k = 0; k < rows.size(); ++k) {
    EXPECT_EQ(rows[k]["variation"], names[k % 5]);
    EXPECT_THAT(result.out, ContainsRegex("\n" + names[k % 5] + " +0\\.[0-9]{5} +[+-]?[0-9.]+%"));
    const double full = rows[k - k % 5]["mean_error"].get<double>();
    EXPECT_NEAR(rows[k]["change_percent"].get<double>(),
                100 * (rows[k]["mean_error"].get<double>() / full - 1), 1e-9);
  }
}

TEST_F(BenchLayers, AblationTakesOtherBitsAndGroups) {
  const Json rows = bench_json({"--ablation", "--bits", "5", "--group", "32"})["rows"];
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0]["bits"], 5);
  EXPECT_EQ(rows[0]["group"], 32);
}

TEST_F(BenchLayers, RefusesWhatCannotBe) {
  expect_refusal(bench({"--grid", "nf5"}), 1, {"nf5", "affine", "fp4", "nf4"});
  expect_refusal(bench({"--grid", "nf4", "--bits", "3"}), 1, {"nf4", "--bits 4"});
  expect_refusal(bench({"--group", "48"}), 1, {"48", "128"});
  expect_refusal(bench({"--method", "magic"}), 1, {"magic", "admm-q"});
  expect_refusal(bench({"--init", "magic"}), 1, {"magic", "gptq"});
  expect_refusal(bench({"--init", "gptq-outliers"}), 1, {"gptq-outliers"});
  expect_refusal(bench({"--grid", "iq2_xs", "--outliers", "0.05"}), 1, {"iq2_xs", "--outliers"});
  expect_refusal(bench({"--ablation", "--method", "gptq"}), 1, {"--ablation", "--method"});
  expect_refusal(run_coldpress({"bench", "layers", folder_ / "none.safetensors"}), 1,
                 {"none.safetensors"});
}

TEST(BenchGemm, PrintsARateAndWhoseKernelsReachIt) {
  EXPECT_THAT(
      run_coldpress({"bench", "gemm"}).out,
      ContainsRegex(
          "SGEMM, [0-9]+ threads, OpenBLAS kernels for \\w+: [0-9.]+ GFLOP/s\n"
          "(solver product in fp32, [0-9]+ columns x 192 rows: [0-9.]+ GFLOP/s, [0-9]+ %\n){3}"
          "((solver product in bf16, [0-9]+ columns x 192 rows: [0-9.]+ GFLOP/s, [0-9]+ "
          "%\n){3})?$"));
}

TEST_F(BenchLayers, QuantEaseGoesOnFromAnotherMethod) {
  const Json alone = bench_json({"--method", "gptq,quantease"})["rows"];
  const Json from_gptq = bench_json({"--method", "quantease", "--init", "gptq"})["rows"];
  EXPECT_LT(from_gptq[0]["mean_error"], alone[0]["mean_error"]);
  EXPECT_NE(from_gptq[0]["mean_error"], alone[1]["mean_error"]);
}

TEST_F(BenchLayers, ScaleTypesChangeTheErrorALittle) {
  const auto error = [&](const std::string& type) {
    return bench_json(
               {"--method", "admm-q", "--bits", "3", "--scale-type", type})["rows"][0]["mean_error"]
        .get<double>();
  };
  EXPECT_NE(error("bf16"), error("f32"));
  EXPECT_NEAR(error("bf16"), error("f32"), 0.03 * error("f32"));
}

class BenchModel : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(folder_ / "text.txt");
  }
  CommandResult bench(const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"bench",
                                          "model",
                                          folder_ / "model",
                                          "--bits",
                                          "3",
                                          "--calibration",
                                          folder_ / "text.txt",
                                          "--samples",
                                          "4",
                                          "--seqlen",
                                          "64"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_coldpress(arguments);
  }
  TempFolder folder_;
};

TEST_F(BenchModel, EveryLinearIsSolvedByEveryMethod) {
  const CommandResult result = bench({"--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = *parse_json(result.out, "stdout");
  ASSERT_EQ(json["linears"].size(), static_cast<std::size_t>(kTinyLinears));
  double sum = 0;
  for (const Json& linear : json["linears"]) {
    const Json& errors = linear["errors"];
    EXPECT_LE(errors["admm-q"], errors["gptq"]) << linear;
    EXPECT_LE(errors["admm-q"], errors["quantease"]) << linear;
    EXPECT_LT(errors["gptq"], linear["rtn_error"]) << linear;
    sum += errors["gptq"].get<double>();
  }
  EXPECT_NEAR(json["against"]["gptq"]["mean_error"], sum / kTinyLinears, 1e-9);
  EXPECT_EQ(json["against"]["gptq"]["linears_where_better"], 0);
  EXPECT_LE(json["against"]["quantease"]["largest_ratio"], 1.0);
  EXPECT_EQ(json["recipe"]["method"], "admm-q");
}

TEST_F(BenchModel, CountsTheLinearsWhereThePressingMethodLoses) {
  const CommandResult result = bench({"--method", "rtn", "--against", "gptq"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("rtn is above gptq on 14 of 14 linears"));
  EXPECT_THAT(result.out, HasSubstr("ffn_down"));
  expect_refusal(bench({"--against", "magic"}), 1, {"magic", "gptq"});
  expect_refusal(bench({"--against", "gptq-outliers"}), 1, {"gptq-outliers", "--outliers"});
}

}  // namespace
}  // namespace coldpress::test
