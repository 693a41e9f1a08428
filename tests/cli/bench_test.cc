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
  expect_refusal(bench({"--ablation", "--method", "gptq"}), 1, {"--ablation", "--method"});
  expect_refusal(run_coldpress({"bench", "layers", folder_ / "none.safetensors"}), 1,
                 {"none.safetensors"});
}

TEST(BenchGemm, PrintsARate) {
  EXPECT_THAT(run_coldpress({"bench", "gemm"}).out,
              ContainsRegex("SGEMM, [0-9]+ threads: [0-9.]+ GFLOP/s"));
}

}  // namespace
}  // namespace coldpress::test
