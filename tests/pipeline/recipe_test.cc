// Recipes: text to recipe to text is the identity, and what is not understood is refused.
#include "pipeline/recipe.h"

#include <gtest/gtest.h>

#include <string>

#include "io/json.h"
#include "io/toml.h"
#include "pipeline/presets.h"

namespace coldpress {
namespace {

TEST(Recipe, SurvivesJsonAndToml) {
  Recipe recipe;
  recipe.method = "quantease";
  recipe.init = "gptq";
  recipe.grid.bits = 2;
  recipe.grid.group = 64;
  recipe.grid.clip = Clip::kNone;
  recipe.grid.scale_type = DType::kBF16;
  recipe.role_grids["ffn_down"] = recipe.grid;
  recipe.role_grids["ffn_down"].bits = 4;
  recipe.solver.effort = 2;
  recipe.solver.refit_rounds = 1;
  recipe.solver.local_search = 0;
  recipe.transform.steps = parse_transform_steps("r1,smooth:0.5,r4").value();
  recipe.transform.seed = 9;
  recipe.transform.activations = {4, false, 0.9F, 0};
  recipe.transform.kv = {2, false, 1.0F, 32};
  recipe.calibration = "c4:0.5,mine.txt:0.5";
  recipe.calibration_seed = 3;
  recipe.shrinkage = 0.25;
  recipe.samples = 7;
  recipe.seqlen = 33;
  recipe.dense_type = DType::kF32;
  const Json json = recipe_to_json(recipe);
  Recipe from_json;
  ASSERT_TRUE(apply_recipe(json, "here", from_json).ok());
  EXPECT_EQ(recipe_to_json(from_json), json);
  Recipe from_toml;
  const Status read = apply_recipe_text(to_toml(json), "here", from_toml);
  ASSERT_TRUE(read.ok()) << read.message();
  EXPECT_EQ(recipe_to_json(from_toml), json);
  Recipe from_manifest;
  ASSERT_TRUE(
      apply_recipe_text(Json{{"recipe", json}, {"more", 1}}.dump(), "m", from_manifest).ok());
  EXPECT_EQ(recipe_to_json(from_manifest), json);
}

TEST(Recipe, KeepsWhatItDoesNotMention) {
  Recipe recipe;
  recipe.samples = 5;
  ASSERT_TRUE(apply_recipe_text("[grid]\nbits = 3", "here", recipe).ok());
  EXPECT_EQ(recipe.samples, 5);
  EXPECT_EQ(recipe.grid.bits, 3);
  EXPECT_EQ(recipe.grid.clip, Clip::kHessian);
}

TEST(Recipe, RangesMayBeSearched) {
  Recipe recipe;
  ASSERT_TRUE(
      apply_recipe_text("[transform.activations]\nbits = 4\nclip = \"search\"", "h", recipe).ok());
  EXPECT_EQ(recipe.transform.activations.clip, kSearchClip);
  Recipe again;
  ASSERT_TRUE(apply_recipe(recipe_to_json(recipe), "here", again).ok());
  EXPECT_EQ(again.transform.activations.clip, kSearchClip);
}

TEST(Recipe, GridsOfRolesStartFromTheGrid) {
  Recipe recipe;
  ASSERT_TRUE(
      apply_recipe_text("[grid]\nbits = 3\ngroup = 64\n[roles.attn_v]\nbits = 5", "here", recipe)
          .ok());
  EXPECT_EQ(recipe.grid_of("attn_v").bits, 5);
  EXPECT_EQ(recipe.grid_of("attn_v").group, 64);
  EXPECT_EQ(recipe.grid_of("attn_q").bits, 3);
}

TEST(Recipe, TypesOfGgufAreRead) {
  Recipe recipe;
  const Status read = apply_recipe_text(
      "[types]\nmix = \"q4_k_m\"\ntensor_types = [\"attn_v=q8_0\"]\noutput_type = \"q6_K\"", "here",
      recipe);
  ASSERT_TRUE(read.ok()) << read.message();
  EXPECT_EQ(recipe.types.mix, "Q4_K_M");
  Recipe again;
  ASSERT_TRUE(apply_recipe(recipe_to_json(recipe), "here", again).ok());
  EXPECT_EQ(recipe_to_json(again), recipe_to_json(recipe));
}

TEST(Recipe, WhatIsNotUnderstoodIsRefusedByName) {
  const struct {
    const char* text;
    const char* named;
  } bad[] = {
      {"bits = 4", "bits"},
      {"[grid]\nbit = 4", "grid.bit"},
      {"[grid]\nbits = 9", "grid.bits"},
      {"[grid]\nbits = \"4\"", "grid.bits"},
      {"[grid]\nclip = \"some\"", "grid.clip"},
      {"[grid]\nscale_type = \"I8\"", "grid.scale_type"},
      {"[grid]\nsymmetric = 1", "grid.symmetric"},
      {"grid = 4", "grid"},
      {"method = 4", "method"},
      {"roles = 4", "roles"},
      {"[roles.attn_q]\nbits = 1", "roles.attn_q.bits"},
      {"[solver]\neffort = 9", "solver.effort"},
      {"shrinkage = 1.5", "shrinkage"},
      {"[solver]\noutliers = 0.9", "solver.outliers"},
      {"[transform]\nsteps = \"r1\"", "transform.steps"},
      {"[transform]\nsteps = [\"r9\"]", "r9"},
      {"[transform]\nsteps = [1]", "transform.steps"},
      {"[transform]\nrotation_seed = -1", "transform.rotation_seed"},
      {"[transform.kv]\nbits = 1", "transform.kv.bits"},
      {"[transform.activations]\nclip = 0", "transform.activations.clip"},
      {"[calibration]\nsamples = 0", "calibration.samples"},
      {"[calibration]\nseed = -4", "calibration.seed"},
      {"[types]\nmix = \"Q9\"", "Q9"},
      {"dense_type = \"F8\"", "dense_type"},
      {"[[", "line 1"},
      {"{\"recipe\": 3}", "table"},
  };
  for (const auto& [text, named] : bad) {
    Recipe recipe;
    const Status read = apply_recipe_text(text, "my.toml", recipe);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_NE(read.message().find(named), std::string::npos) << read.message();
  }
}

TEST(Presets, AreRecipes) {
  EXPECT_EQ(presets().size(), 6U);
  for (const Preset& preset : presets()) {
    Recipe recipe;
    const Status read = apply_preset(preset.name, recipe);
    ASSERT_TRUE(read.ok()) << read.message();
    Recipe again;
    ASSERT_TRUE(apply_recipe_text(to_toml(recipe_to_json(recipe)), "here", again).ok());
    EXPECT_EQ(recipe_to_json(again), recipe_to_json(recipe)) << preset.name;
  }
  Recipe recipe;
  EXPECT_NE(apply_preset("w1", recipe).message().find("w3a16"), std::string::npos);
  ASSERT_TRUE(apply_preset("w2a4kv4-rotated", recipe).ok());
  EXPECT_EQ(recipe.grid.bits, 2);
  EXPECT_EQ(recipe.grid.group, 64);
  EXPECT_EQ(recipe.transform.kv.bits, 4);
}

}  // namespace
}  // namespace coldpress
