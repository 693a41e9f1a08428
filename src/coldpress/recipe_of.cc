#include "coldpress/recipe_of.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "export/table.h"
#include "io/file.h"

namespace coldpress {
namespace {

// The value of `name` among (name, value) pairs.
template <typename T, std::size_t n>
Result<T> choose(const char* option, const std::string& name,
                 const std::array<std::pair<const char*, T>, n>& choices) {
  std::string known;
  for (const auto& [choice, value] : choices) {
    if (name == choice) return value;
    known += (known.empty() ? "" : ", ") + std::string(choice);
  }
  return invalid_argument(
      fmt::format("{} '{}' is not possible; use one of {}", option, name, known));
}

// Empty: f16.
Result<DType> float_type(const char* option, const std::string& name) {
  if (name.empty()) return DType::kF16;
  return choose<DType, 3>(option, name,
                          {{{"f16", DType::kF16}, {"bf16", DType::kBF16}, {"f32", DType::kF32}}});
}

Status check_range(const char* option, int value, int least, int most) {
  if (value >= least && value <= most) return {};
  return invalid_argument(
      fmt::format("{} {} is not possible; use {} to {}", option, value, least, most));
}

Result<MixOptions> mix_of(const QuantizeOptions& o) {
  MixOptions mix;
  if (o.type.empty()) {
    if (o.pure || o.allow_fallback || !o.tensor_types.empty() || !o.output_tensor_type.empty() ||
        !o.token_embedding_type.empty()) {
      return invalid_argument(
          "--pure, --allow-fallback and the types of tensors go with --type alone");
    }
    return mix;
  }
  COLDPRESS_ASSIGN_OR_RETURN(const Mix found, find_mix(o.type));
  mix.mix = found.name;
  mix.pure = o.pure;
  mix.allow_fallback = o.allow_fallback;
  for (const std::string& text : o.tensor_types) {
    COLDPRESS_ASSIGN_OR_RETURN(TensorTypeRule rule, parse_tensor_type_rule(text));
    mix.overrides.push_back(std::move(rule));
  }
  if (!o.output_tensor_type.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(mix.output_type,
                               parse_tensor_type(o.output_tensor_type, "--output-tensor-type"));
  }
  if (!o.token_embedding_type.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(mix.token_embd_type,
                               parse_tensor_type(o.token_embedding_type, "--token-embedding-type"));
  }
  return mix;
}

// The preset or the recipe's file.
Status apply_given(const QuantizeOptions& o, Recipe& recipe) {
  if (!o.preset.empty() && !o.recipe.empty()) {
    return invalid_argument("a preset and a recipe exclude each other; give one of them");
  }
  if (!o.preset.empty()) return apply_preset(o.preset, recipe);
  if (o.recipe.empty()) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(o.recipe));
  return apply_recipe_text(text, o.recipe, recipe);
}

}  // namespace

Result<Recipe> recipe_of(const MethodOptions& o) {
  COLDPRESS_RETURN_IF_ERROR(check_range("--bits", o.bits, 2, 8));
  COLDPRESS_RETURN_IF_ERROR(check_range("--effort", o.effort, 1, 5));
  COLDPRESS_RETURN_IF_ERROR(check_range("--refit", o.refit, 0, 20));
  Recipe recipe;
  recipe.method = o.method;
  recipe.init = o.init;
  recipe.grid.kind = o.grid;
  recipe.grid.bits = o.bits;
  recipe.grid.group = o.group;
  recipe.grid.symmetric = o.symmetric;
  COLDPRESS_ASSIGN_OR_RETURN(
      recipe.grid.clip,
      (choose<Clip, 2>("--clip", o.clip, {{{"hessian", Clip::kHessian}, {"none", Clip::kNone}}})));
  COLDPRESS_ASSIGN_OR_RETURN(recipe.grid.scale_type, float_type("--scale-type", o.scale_type));
  recipe.solver.effort = o.effort;
  recipe.solver.refit_rounds = o.refit;
  recipe.solver.outlier_fraction = o.outliers;
  COLDPRESS_ASSIGN_OR_RETURN(recipe.solver.outlier_mode,
                             (choose<OutlierMode, 2>("--outlier-mode", o.outlier_mode,
                                                     {{{"unstructured", OutlierMode::kUnstructured},
                                                       {"columns", OutlierMode::kColumns}}})));
  return recipe;
}

Result<Recipe> recipe_of(const QuantizeOptions& o) {
  COLDPRESS_ASSIGN_OR_RETURN(Recipe recipe, recipe_of(o.method));
  COLDPRESS_ASSIGN_OR_RETURN(recipe.types, mix_of(o));
  COLDPRESS_ASSIGN_OR_RETURN(recipe.dense_type, float_type("--dense-type", o.dense_type));
  if (o.format != "dense") {
    COLDPRESS_RETURN_IF_ERROR(find_code_format(o.format).status());
    recipe.code_format = o.format;
  }
  recipe.quantise_head = o.quantize_head;
  recipe.propagate = o.propagate;
  if (o.shrinkage && !(*o.shrinkage >= 0 && *o.shrinkage <= 1)) {
    return invalid_argument(fmt::format("shrinkage {} is not between 0 and 1", *o.shrinkage));
  }
  recipe.shrinkage = o.shrinkage;
  recipe.calibration.clear();  // texts by name are the command's alone
  recipe.calibration_seed = o.seed;
  recipe.samples = o.samples;
  recipe.seqlen = o.seqlen;
  COLDPRESS_RETURN_IF_ERROR(apply_given(o, recipe));
  if (!o.calibration.empty()) recipe.calibration = o.calibration;
  return recipe;
}

Result<Target> target_of(const QuantizeOptions& o) {
  if (o.tensor_parallel < 1 || o.tensor_parallel > 1024) {
    return invalid_argument(
        fmt::format("--tp {} is not possible; use 1 to 1024", o.tensor_parallel));
  }
  if (o.target.empty()) return Target();
  std::string known;
  for (const char* loader : kTargetLoaders) {
    if (o.target == loader) return Target{o.target, o.tensor_parallel};
    known += (known.empty() ? "" : ", ") + std::string(loader);
  }
  return invalid_argument(
      fmt::format("--target '{}' is not possible; use one of {}", o.target, known));
}

Result<int> threads_of(int requested) {
  if (requested < 0) {
    return invalid_argument(
        fmt::format("--threads {} is not possible; use 0 for all cores", requested));
  }
  if (requested > 0) return requested;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace coldpress
