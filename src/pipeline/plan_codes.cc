#include "pipeline/plan_codes.h"

#include <fmt/format.h>

#include "export/table.h"

namespace coldpress {
namespace {

Status check_head(const Model& model, const Recipe& recipe) {
  if (!recipe.quantise_head) return {};
  if (!recipe.types.mix.empty()) {
    return invalid_argument(
        "--quantize-head is for --bits; with --type the mix decides, or --output-tensor-type");
  }
  if (model.role_tensor("output", 0).has_value()) return {};
  return invalid_argument(
      fmt::format("{}: the head is the table of embeddings, which is stored once and looked up row "
                  "by row; leave --quantize-head out, or use --type, which can quantise both",
                  model.path().string()));
}

}  // namespace

Status check_code_recipe(const Model& model, const Recipe& recipe) {
  COLDPRESS_RETURN_IF_ERROR(check_head(model, recipe));
  if (recipe.code_format.empty()) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const ExportFormat* format, find_code_format(recipe.code_format));
  if (!recipe.types.mix.empty()) {
    return invalid_argument(
        fmt::format("--type is for GGUF files; use --bits with --format {}", format->name));
  }
  if (!recipe.role_grids.empty()) {
    return invalid_argument(fmt::format(
        "--format {} has one grid for all linears; leave the recipe's roles out, or use "
        "--format dense",
        format->name));
  }
  if (recipe.solver.outlier_fraction > 0) {
    return invalid_argument(
        fmt::format("--format {} has no place for --outliers beside its codes; leave them out, or "
                    "use --format dense",
                    format->name));
  }
  for (const RoleSpec& role : model.architecture().roles) {
    if (!role.is_linear() || !role.hf_transposed) continue;
    return unsupported(fmt::format(
        "{} keeps its linears as (inputs, outputs), which the loaders of --format {} do not take; "
        "use --format dense",
        model.architecture().name, format->name));
  }
  return check_codes(format->name, *format->codes, recipe.grid, recipe.dense_type);
}

Status plan_codes(const Recipe& recipe, bool is_stacked, PlannedTensor* t) {
  if (recipe.code_format.empty()) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const ExportFormat* format, find_code_format(recipe.code_format));
  const CodeFormat& codes = *format->codes;
  if (is_stacked || t->shape.size() != 2) {
    return unsupported(fmt::format(
        "tensor {} holds several experts, which --format {} stores one by one; use a folder with a "
        "tensor for each expert as the source, or --format dense",
        t->name, format->name));
  }
  const Status fits = check_codes_size(codes, recipe.grid, t->shape[0], t->shape[1]);
  if (!fits.ok()) return fits.with_context("tensor " + t->name);
  t->stored_type = codes.stored_type(recipe.grid, t->shape[1]);
  t->stored_bytes = 0;
  for (const CodedPart& part : codes.parts(recipe.grid, t->name, t->shape[0], t->shape[1])) {
    t->stored_bytes += part.bytes();
  }
  return {};
}

}  // namespace coldpress
