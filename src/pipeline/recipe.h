// What the user asked for, before any model is looked at. Recipes come from options, from TOML
// files and from the manifests of earlier runs, and are recorded in the output: text to recipe to
// text is the identity.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/dtype.h"
#include "base/status.h"
#include "export/gguf_mix.h"
#include "grid/grid.h"
#include "io/json_type.h"
#include "solver/solver.h"
#include "transform/steps.h"

namespace coldpress {

struct Recipe {
  std::string method = "admm-q";
  std::string init;  // method whose result `method` starts from; empty: its own start
  GridOptions grid;
  std::map<std::string, GridOptions> role_grids;  // of linears by role, instead of `grid`
  MixOptions types;  // GGUF types instead of `grid`, where types.mix is not empty
  // Folders whose linears are codes on `grid`: the format's name (export/table.h). Empty: dense.
  std::string code_format;
  bool quantise_head = false;  // on `grid` too; a mix of GGUF types has its own say
  SolverOptions solver;
  // Of the model that is pressed: run_plan's callers open it so (transform/transformed_model.h).
  TransformOptions transform;
  // Linears make good what they can of the errors before them (pipeline/propagation.h), for a
  // second forward pass.
  bool propagate = true;
  // Of the Hessians' off-diagonals (hessian/off_diagonal.h); none: by the number of tokens.
  std::optional<double> shrinkage;
  std::string calibration = "c4";            // texts (calibration/sources.h)
  std::optional<uint64_t> calibration_seed;  // of the choice of windows; none: the first ones
  int64_t samples = 128;                     // calibration windows
  int64_t seqlen = 512;                      // tokens per window
  // Type that the dequantised weights are stored in. Values are rounded to it before they are
  // propagated, so the file holds exactly what the later layers were calibrated on.
  DType dense_type = DType::kF16;

  const GridOptions& grid_of(const std::string& role) const;
};

Json recipe_to_json(const Recipe& recipe);
// Changes what the JSON mentions; unknown keys and values out of range are refused, with their
// names. `where` names the source in errors.
Status apply_recipe(const Json& json, const std::string& where, Recipe& recipe);
// The same of TOML, of JSON, or of the recipe in a manifest (JSON).
Status apply_recipe_text(std::string_view text, const std::string& where, Recipe& recipe);
// The same of a preset (pipeline/presets.h).
Status apply_preset(std::string_view name, Recipe& recipe);

}  // namespace coldpress
