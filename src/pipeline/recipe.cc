#include "pipeline/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "export/table.h"
#include "io/ggml_codec.h"
#include "io/json.h"
#include "io/show_name.h"
#include "io/toml.h"
#include "model/online.h"
#include "pipeline/presets.h"

namespace coldpress {
namespace {

// Reads the members of one table of a recipe, and refuses what is left over.
class Fields {
 public:
  // `name`: of the table, with a dot behind; empty for the recipe itself.
  Fields(const Json& json, std::string where, std::string name = {})
      : json_(json), where_(std::move(where)), name_(std::move(name)) {
    if (!json.is_object()) fail(name_ + " must be a table");
  }

  // The member, or nullptr; null counts as absent.
  const Json* find(const char* key) {
    known_.emplace_back(key);
    if (!json_.is_object()) return nullptr;
    const auto at = json_.find(key);
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }
  // A table that may be read on its own.
  Fields table(const Json& json, const char* key) const {
    return {json, where_, name_ + key + "."};
  }

  template <typename Int>
  void integer(const char* key, int64_t low, int64_t high, Int* into) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || *value < low || *value > high) {
      return fail(fmt::format("{}{} must be an integer from {} to {}", name_, key, low, high));
    }
    *into = value->get<Int>();
  }
  template <typename Float>
  void number(const char* key, double low, double high, Float* into) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number() || !(*value >= low && *value <= high)) {
      return fail(fmt::format("{}{} must be a number from {:g} to {:g}", name_, key, low, high));
    }
    *into = value->get<Float>();
  }
  void flag(const char* key, bool* into) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return fail(fmt::format("{}{} must be true or false", name_, key));
    *into = value->get<bool>();
  }
  void text(const char* key, std::string* into) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return fail(fmt::format("{}{} must be a text", name_, key));
    *into = value->get<std::string>();
  }
  // One of the names; `set` gets its index.
  template <typename Set>
  void choice(const char* key, const std::vector<std::string>& names, Set set) {
    std::string value;
    text(key, &value);
    if (value.empty()) return;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == value) return set(i);
    }
    fail(fmt::format("{}{} must be one of {}", name_, key, fmt::join(names, ", ")));
  }
  // `take` gets each text; its error is the field's.
  template <typename Take>
  void texts(const char* key, Take take) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_array()) return fail(fmt::format("{}{} must be a list of texts", name_, key));
    for (const Json& element : *value) {
      if (!element.is_string()) {
        return fail(fmt::format("{}{} must be a list of texts", name_, key));
      }
      note(take(element.get<std::string>()));
    }
  }

  void fail(const std::string& what) { note(corrupt(where_ + ": " + what)); }
  void note(Status status) {
    if (status_.ok() && !status.ok()) status_ = std::move(status);
  }

  // The first error, unknown members included.
  Status finish() {
    if (!status_.ok() || !json_.is_object()) return status_;
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      return corrupt(fmt::format("{}: unknown key {}; known are {}", where_, show_name(name_ + key),
                                 fmt::join(known_, ", ")));
    }
    return {};
  }

 private:
  const Json& json_;
  std::string where_;
  std::string name_;
  std::vector<std::string> known_;
  Status status_;
};

constexpr int64_t kAnyInteger = std::numeric_limits<int32_t>::max();

const std::vector<std::string> kFloatTypes = {"F32", "F16", "BF16"};
DType float_type(std::size_t i) {
  return i == 0 ? DType::kF32 : (i == 1 ? DType::kF16 : DType::kBF16);
}

Status read_grid(Fields fields, GridOptions& grid) {
  fields.text("kind", &grid.kind);
  fields.integer("bits", 2, 8, &grid.bits);
  fields.integer("group", 0, kAnyInteger, &grid.group);
  fields.flag("symmetric", &grid.symmetric);
  fields.choice("scale_type", kFloatTypes, [&](std::size_t i) { grid.scale_type = float_type(i); });
  fields.choice("clip", {"hessian", "none"},
                [&](std::size_t i) { grid.clip = i == 0 ? Clip::kHessian : Clip::kNone; });
  return fields.finish();
}

Json grid_to_json(const GridOptions& grid) {
  return {{"kind", grid.kind},
          {"bits", grid.bits},
          {"group", grid.group},
          {"symmetric", grid.symmetric},
          {"scale_type", std::string(dtype_name(grid.scale_type))},
          {"clip", grid.clip == Clip::kHessian ? "hessian" : "none"}};
}

Status read_solver(Fields fields, SolverOptions& solver) {
  fields.integer("iterations", 0, kAnyInteger, &solver.iterations);
  fields.integer("local_search", -1, kAnyInteger, &solver.local_search);
  fields.flag("precondition", &solver.precondition);
  fields.flag("grow_rho", &solver.grow_rho);
  fields.integer("effort", 1, 5, &solver.effort);
  fields.flag("move_scales", &solver.move_scales);
  fields.integer("refit_rounds", 0, 20, &solver.refit_rounds);
  fields.number("outliers", 0, 0.5, &solver.outlier_fraction);
  fields.choice("outlier_mode", {"unstructured", "columns"}, [&](std::size_t i) {
    solver.outlier_mode = i == 0 ? OutlierMode::kUnstructured : OutlierMode::kColumns;
  });
  return fields.finish();
}

Status read_low_bits(Fields fields, LowBits& how) {
  fields.integer("bits", 2, 8, &how.bits);
  fields.flag("symmetric", &how.symmetric);
  if (const Json* clip = fields.find("clip"); clip != nullptr && *clip == "search") {
    how.clip = kSearchClip;
  } else {
    fields.number("clip", 0.1, 1.0, &how.clip);
  }
  fields.integer("group", 0, kAnyInteger, &how.group);
  return fields.finish();
}

Status read_transform(Fields fields, TransformOptions& transform) {
  if (fields.find("steps") != nullptr) transform.steps.clear();
  std::string list;
  fields.texts("steps", [&](const std::string& step) -> Status {
    list += (list.empty() ? "" : ",") + step;
    COLDPRESS_ASSIGN_OR_RETURN(transform.steps, parse_transform_steps(list));
    return {};
  });
  fields.integer("rotation_seed", 0, std::numeric_limits<int64_t>::max(), &transform.seed);
  if (const Json* json = fields.find("activations")) {
    fields.note(read_low_bits(fields.table(*json, "activations"), transform.activations));
  }
  if (const Json* json = fields.find("kv")) {
    fields.note(read_low_bits(fields.table(*json, "kv"), transform.kv));
  }
  return fields.finish();
}

Status read_types(Fields fields, MixOptions& types) {
  fields.text("mix", &types.mix);
  fields.flag("pure", &types.pure);
  fields.texts("tensor_types", [&](const std::string& text) -> Status {
    COLDPRESS_ASSIGN_OR_RETURN(TensorTypeRule rule, parse_tensor_type_rule(text));
    types.overrides.push_back(std::move(rule));
    return {};
  });
  for (const char* key : {"output_type", "token_embedding_type"}) {
    std::string name;
    fields.text(key, &name);
    if (name.empty()) continue;
    const auto type = parse_tensor_type(name, key);
    fields.note(type.status());
    if (type.ok()) (key[0] == 'o' ? types.output_type : types.token_embd_type) = *type;
  }
  fields.flag("allow_fallback", &types.allow_fallback);
  if (!types.mix.empty()) {
    const auto mix = find_mix(types.mix);
    fields.note(mix.status());
    if (mix.ok()) types.mix = std::string(mix->name);
  }
  return fields.finish();
}

Json types_to_json(const MixOptions& o) {
  if (o.mix.empty()) return nullptr;
  const auto name = [](int32_t type) { return ggml_type_info(type)->name; };
  Json overrides = Json::array();
  for (const TensorTypeRule& rule : o.overrides) {
    overrides.push_back(rule.pattern + "=" + name(rule.ggml_type));
  }
  return {{"mix", o.mix},
          {"pure", o.pure},
          {"tensor_types", std::move(overrides)},
          {"output_type", o.output_type ? Json(name(*o.output_type)) : Json()},
          {"token_embedding_type", o.token_embd_type ? Json(name(*o.token_embd_type)) : Json()},
          {"allow_fallback", o.allow_fallback}};
}

Status read_calibration(Fields fields, Recipe& recipe) {
  fields.text("text", &recipe.calibration);
  if (const Json* seed = fields.find("seed")) {
    if (seed->is_number_integer() && *seed >= 0) {
      recipe.calibration_seed = seed->get<uint64_t>();
    } else {
      fields.fail("calibration.seed must be an integer of at least 0");
    }
  }
  fields.integer("samples", 1, kAnyInteger, &recipe.samples);
  fields.integer("seqlen", 2, kAnyInteger, &recipe.seqlen);
  return fields.finish();
}

}  // namespace

const GridOptions& Recipe::grid_of(const std::string& role) const {
  const auto at = role_grids.find(role);
  return at == role_grids.end() ? grid : at->second;
}

Json recipe_to_json(const Recipe& r) {
  Json roles = Json::object();
  for (const auto& [role, grid] : r.role_grids) roles[role] = grid_to_json(grid);
  return {{"method", r.method},
          {"init", r.init},
          {"types", types_to_json(r.types)},
          {"format", r.code_format.empty() ? Json() : Json(r.code_format)},
          {"quantise_head", r.quantise_head},
          {"grid", grid_to_json(r.grid)},
          {"roles", std::move(roles)},
          {"solver",
           {{"iterations", r.solver.iterations},
            {"local_search", r.solver.local_search},
            {"precondition", r.solver.precondition},
            {"grow_rho", r.solver.grow_rho},
            {"effort", r.solver.effort},
            {"move_scales", r.solver.move_scales},
            {"refit_rounds", r.solver.refit_rounds},
            {"outliers", r.solver.outlier_fraction},
            {"outlier_mode",
             r.solver.outlier_mode == OutlierMode::kColumns ? "columns" : "unstructured"}}},
          {"propagate", r.propagate},
          {"shrinkage", r.shrinkage ? Json(*r.shrinkage) : Json()},
          {"transform", transforms_to_json(r.transform)},
          {"calibration",
           {{"text", r.calibration},
            {"seed", r.calibration_seed ? Json(*r.calibration_seed) : Json()},
            {"samples", r.samples},
            {"seqlen", r.seqlen}}},
          {"dense_type", std::string(dtype_name(r.dense_type))}};
}

Status apply_recipe(const Json& json, const std::string& where, Recipe& recipe) {
  Fields fields(json, where);
  fields.text("method", &recipe.method);
  fields.text("init", &recipe.init);
  fields.flag("propagate", &recipe.propagate);
  if (fields.find("shrinkage") != nullptr) {
    fields.number("shrinkage", 0, 1, &recipe.shrinkage.emplace());
  }
  fields.text("format", &recipe.code_format);
  if (!recipe.code_format.empty()) fields.note(find_code_format(recipe.code_format).status());
  fields.flag("quantise_head", &recipe.quantise_head);
  if (const Json* grid = fields.find("grid")) {
    fields.note(read_grid(fields.table(*grid, "grid"), recipe.grid));
  }
  if (const Json* roles = fields.find("roles"); roles != nullptr && roles->is_object()) {
    for (const auto& [role, grid] : roles->items()) {
      const auto [at, is_new] = recipe.role_grids.emplace(role, recipe.grid);
      fields.note(read_grid(fields.table(grid, ("roles." + role).c_str()), at->second));
    }
  } else if (roles != nullptr) {
    fields.fail("roles must be a table");
  }
  if (const Json* types = fields.find("types")) {
    fields.note(read_types(fields.table(*types, "types"), recipe.types));
  }
  if (const Json* solver = fields.find("solver")) {
    fields.note(read_solver(fields.table(*solver, "solver"), recipe.solver));
  }
  if (const Json* transform = fields.find("transform")) {
    fields.note(read_transform(fields.table(*transform, "transform"), recipe.transform));
  }
  if (const Json* calibration = fields.find("calibration")) {
    fields.note(read_calibration(fields.table(*calibration, "calibration"), recipe));
  }
  fields.choice("dense_type", kFloatTypes,
                [&](std::size_t i) { recipe.dense_type = float_type(i); });
  return fields.finish();
}

Status apply_recipe_text(std::string_view text, const std::string& where, Recipe& recipe) {
  if (!text.starts_with('{')) {
    COLDPRESS_ASSIGN_OR_RETURN(const Json json, parse_toml(text, where));
    return apply_recipe(json, where, recipe);
  }
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, parse_json(text, where));
  const bool is_manifest = json.is_object() && json.contains("recipe");
  return apply_recipe(is_manifest ? json["recipe"] : json, where, recipe);
}

Status apply_preset(std::string_view name, Recipe& recipe) {
  COLDPRESS_ASSIGN_OR_RETURN(const Preset preset, find_preset(name));
  return apply_recipe_text(preset.toml, "preset " + std::string(name), recipe);
}

}  // namespace coldpress
