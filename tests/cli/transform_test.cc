// Transforms and low-bit activations from the command line, and back from the written file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"
#include "tests/cli/command.h"
#include "tests/cli/tiny_model.h"

namespace coldpress::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Transforms : public testing::Test {
 protected:
  void SetUp() override {
    write_tiny_model(folder_ / "model");
    write_tiny_text(text_);
  }
  CommandResult quantize(const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> words = {
        "quantize", folder_ / "model", "--method", "rtn", "--samples",  "2", "--seqlen",
        "64",       "--calibration",   text_,      "-o",  folder_ / out};
    words.insert(words.end(), more.begin(), more.end());
    const bool has_recipe = std::find(more.begin(), more.end(), "--preset") != more.end();
    if (!has_recipe) {
      words.insert(words.end(), {"--bits", "8"});
    }
    return run_coldpress(words);
  }
  Json eval(const std::string& name, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"eval",       folder_ / name,  "--text",    text_,
                                      "--protocol", "llama.cpp-512", "--windows", "2",
                                      "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_coldpress(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto json = parse_json(result.out, "stdout");
    EXPECT_TRUE(json.ok());
    return json.ok() ? *json : Json();
  }
  double perplexity(const std::string& name, const std::vector<std::string>& more = {}) {
    return eval(name, more)["perplexity"].get<double>();
  }

  TempFolder folder_;
  fs::path text_ = folder_ / "text.txt";
};

TEST_F(Transforms, ConvertWritesTheSameModelWithOtherWeights) {
  const double before = perplexity("model");
  for (const char* out : {"rotated", "rotated.gguf"}) {
    const CommandResult result =
        run_coldpress({"convert", folder_ / "model", "--transform", "norms,r1,r2", "--dense-type",
                       "f32", "-o", folder_ / out});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NEAR(perplexity(out), before, 1e-4 * before);
    EXPECT_NE(slurp(folder_ / "model/model.safetensors"),
              slurp(fs::is_directory(folder_ / out) ? folder_ / "rotated/model.safetensors"
                                                    : folder_ / out));
  }
  ASSERT_EQ(run_coldpress({"convert", folder_ / "model", "--transform", "r2", "--rotation-seed",
                           "9", "-o", folder_ / "seed9"})
                .exit_code,
            0);
  ASSERT_EQ(
      run_coldpress({"convert", folder_ / "model", "--transform", "r2", "-o", folder_ / "seed0"})
          .exit_code,
      0);
  EXPECT_NE(slurp(folder_ / "seed9/model.safetensors"), slurp(folder_ / "seed0/model.safetensors"));
}

TEST_F(Transforms, OnlinePartsAreReadBackFromEveryContainer) {
  const std::vector<std::string> how = {
      "--transform", "r1,r2,r3,r4", "--act-bits", "8",          "--act-clip",
      "0.95",        "--kv-bits",   "4",          "--kv-group", "8"};
  for (const char* out : {"online", "online.gguf"}) {
    const CommandResult result = quantize(out, how);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const Json folder = eval("online");
  const Json gguf = eval("online.gguf");
  EXPECT_EQ(folder["online"]["activations"]["bits"], 8);
  EXPECT_NEAR(folder["online"]["activations"]["clip"].get<double>(), 0.95, 1e-6);
  EXPECT_EQ(folder["online"]["kv"]["bits"], 4);
  EXPECT_EQ(folder["online"]["kv"]["group"], 8);
  EXPECT_EQ(folder["online"]["r4"], 0);
  EXPECT_EQ(folder["online"], gguf["online"]);
  const double before = perplexity("model");
  EXPECT_NEAR(folder["perplexity"].get<double>(), before, 0.2 * before);
  // The same rounding, though GGUF has keys in another order; matrices that are not quantised are
  // rounded to F16 in both.
  EXPECT_NEAR(gguf["perplexity"].get<double>(), folder["perplexity"].get<double>(), 1e-2 * before);
  // Other programs must not take it for a plain Llama.
  EXPECT_THAT(slurp(folder_ / "online/config.json"), HasSubstr("coldpress_llama"));
  // The other way: from GGUF to a folder, with all that runs along.
  ASSERT_EQ(run_coldpress({"convert", folder_ / "online.gguf", "-o", folder_ / "back"}).exit_code,
            0);
  EXPECT_EQ(eval("back")["online"], gguf["online"]);
  EXPECT_NEAR(perplexity("back"), gguf["perplexity"].get<double>(), 1e-3 * before);
}

TEST_F(Transforms, EvalRoundsActivationsAsAsked) {
  const double plain = perplexity("model");
  EXPECT_EQ(perplexity("model", {"--act-clip", "0.5"}), plain);
  const double four = perplexity("model", {"--act-bits", "4"});
  EXPECT_NE(four, plain);
  EXPECT_NE(perplexity("model", {"--act-bits", "4", "--act-asymmetric"}), four);
  EXPECT_NE(perplexity("model", {"--act-bits", "4", "--act-clip", "0.8"}), four);
  EXPECT_NE(perplexity("model", {"--act-bits", "4", "--act-clip", "search"}), four);
  EXPECT_NE(perplexity("model", {"--act-bits", "4", "--act-group", "8"}), four);
  const double kv = perplexity("model", {"--kv-bits", "2"});
  EXPECT_NE(kv, plain);
  EXPECT_NE(perplexity("model", {"--kv-bits", "2", "--kv-group", "8"}), kv);
  EXPECT_NE(perplexity("model", {"--kv-bits", "2", "--kv-clip", "0.8"}), kv);
  EXPECT_NE(perplexity("model", {"--kv-bits", "2", "--kv-clip", "search"}), kv);
}

TEST_F(Transforms, TheManifestSaysWhatWasDone) {
  const CommandResult result =
      quantize("out", {"--transform", "r1", "--rotation-seed", "3", "--act-bits", "8", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json manifest = *parse_json(result.out, "stdout");
  EXPECT_EQ(manifest["recipe"]["transform"]["steps"][0], "r1");
  EXPECT_EQ(manifest["recipe"]["transform"]["rotation_seed"], 3);
  EXPECT_EQ(manifest["recipe"]["transform"]["activations"]["bits"], 8);
}

TEST_F(Transforms, PresetsAndRecipesAreChangedByOptions) {
  const auto recipe_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"plan", folder_ / "model", "--calibration", text_, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = run_coldpress(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(result.out, "stdout").value()["recipe"];
  };
  const Json preset = recipe_of({"--preset", "w2a4kv4-rotated"});
  EXPECT_EQ(preset["grid"]["bits"], 2);
  EXPECT_EQ(preset["transform"]["kv"]["bits"], 4);
  // Whatever comes first on the command line.
  EXPECT_EQ(recipe_of({"--bits", "3", "--preset", "w2a4kv4-rotated"})["grid"]["bits"], 3);
  write_file(folder_ / "my.toml",
             "method = \"gptq\"\n[grid]\nbits = 5\n[roles.ffn_down]\nbits = 6");
  const Json mine = recipe_of({"--recipe", folder_ / "my.toml", "--group", "32"});
  EXPECT_EQ(mine["method"], "gptq");
  EXPECT_EQ(mine["grid"]["group"], 32);
  EXPECT_EQ(mine["roles"]["ffn_down"]["bits"], 6);
  write_file(folder_ / "bad.toml", "[grid]\nbits = 5\nsize = 4");
  expect_refusal(run_coldpress({"plan", folder_ / "model", "--recipe", folder_ / "bad.toml"}), 2,
                 {"bad.toml", "grid.size"});
  expect_refusal(run_coldpress({"plan", folder_ / "model", "--preset", "w1"}), 2, {"w3a16"});
  expect_refusal(run_coldpress({"plan", folder_ / "model"}), 2, {"--bits"});
}

TEST_F(Transforms, AManifestRepeatsItsRun) {
  ASSERT_EQ(
      quantize("first", {"--preset", "w4a8-smoothquant", "--transform", "smooth,r2"}).exit_code, 0);
  const CommandResult again =
      run_coldpress({"quantize", folder_ / "model", "--recipe", folder_ / "first/coldpress.json",
                     "-o", folder_ / "again"});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(slurp(folder_ / "first/model.safetensors"), slurp(folder_ / "again/model.safetensors"));
  EXPECT_EQ(parse_json(slurp(folder_ / "first/coldpress.json"), "a").value()["recipe"],
            parse_json(slurp(folder_ / "again/coldpress.json"), "b").value()["recipe"]);
}

TEST_F(Transforms, LearnedRotationsPress) {
  ASSERT_EQ(quantize("learned", {"--transform", "r1:learned"}).exit_code, 0);
  ASSERT_EQ(quantize("random", {"--transform", "r1"}).exit_code, 0);
  EXPECT_NE(slurp(folder_ / "learned/model.safetensors"),
            slurp(folder_ / "random/model.safetensors"));
  const double before = perplexity("model");
  EXPECT_NEAR(perplexity("learned"), before, 0.02 * before);
}

TEST_F(Transforms, TheMatrixGoesOnWhereItWas) {
  const auto matrix = [&](const std::string& methods) {
    return run_coldpress({"bench",
                          "matrix",
                          folder_ / "model",
                          "--presets",
                          "w8a8,w2a4kv4-rotated",
                          "--methods",
                          methods,
                          "--calibration",
                          text_,
                          "--samples",
                          "2",
                          "--seqlen",
                          "64",
                          "--text",
                          text_,
                          "--protocol",
                          "llama.cpp-512",
                          "--windows",
                          "1",
                          "--effort",
                          "1",
                          "-o",
                          folder_ / "matrix"});
  };
  ASSERT_EQ(matrix("rtn").exit_code, 0);
  const auto cells = [&] {
    return parse_json(slurp(folder_ / "matrix/matrix.json"), "m").value()["cells"];
  };
  const Json first = cells();
  ASSERT_EQ(first.size(), 2U);
  const CommandResult result = matrix("rtn,gptq");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("w2a4kv4-rotated"));
  const Json all = cells();
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0], first[0]);  // its seconds too
  EXPECT_GT(all[1]["perplexity"].get<double>(), 0);
  const std::string html = slurp(folder_ / "matrix/matrix.html");
  EXPECT_THAT(html, HasSubstr("<svg"));
  EXPECT_THAT(html, HasSubstr("gptq"));
  EXPECT_EQ(html.find("http"), std::string::npos);
  for (const char* name : {"cell.gguf", "cell.gguf.coldpress.json"}) {
    EXPECT_FALSE(fs::exists(folder_ / "matrix" / name));
  }
}

TEST_F(Transforms, WhatCannotBeDoneIsRefused) {
  expect_refusal(quantize("a", {"--kv-bits", "4", "--kv-group", "5"}), 1, {"--kv-group 5"});
  EXPECT_EQ(quantize("b", {"--transform", "r7"}).exit_code, 2);
  EXPECT_EQ(quantize("c", {"--act-bits", "1"}).exit_code, 2);
  expect_refusal(quantize("d", {"--symmetric", "--transform", "r4", "--format", "gptq"}), 1,
                 {"--format", "r4"});
  expect_refusal(quantize("e.gguf", {"--kv-bits", "4", "--target", "llama.cpp"}), 1,
                 {"llama.cpp", "keys and values"});
  expect_refusal(quantize("f", {"--act-bits", "4", "--symmetric", "--format", "int-quantized",
                                "--target", "vllm"}),
                 1, {"vllm", "activations"});
  ASSERT_EQ(quantize("g", {"--act-bits", "8", "--symmetric", "--transform", "smooth", "--format",
                           "int-quantized", "--target", "vllm"})
                .exit_code,
            0);
  ASSERT_EQ(quantize("online", {"--transform", "r4"}).exit_code, 0);
  expect_refusal(
      run_coldpress({"convert", folder_ / "online", "--transform", "r4", "-o", folder_ / "twice"}),
      1, {"r4", "already"});
}

}  // namespace
}  // namespace coldpress::test
