#include "pipeline/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "grid/table.h"
#include "io/ggml_codec.h"
#include "io/json.h"
#include "model/extras.h"
#include "pipeline/memory_plan.h"
#include "pipeline/plan_codes.h"
#include "pipeline/plan_types.h"
#include "solver/check_options.h"
#include "solver/outliers.h"
#include "solver/table.h"

namespace coldpress {
namespace {

// A linear of the model and where it sits.
struct Place {
  int block;
  std::string tap;
  LinearRef linear;
  int64_t count = 0;  // of such linears in the tensor
};

std::map<std::string, Place> linear_places(const Model& model) {
  std::map<std::string, Place> places;
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) {
      for (const LinearRef& linear : tap.linears) {
        Place& place = places[linear.tensor_name];
        place = {block, tap.name, linear, place.count + 1};
      }
    }
  }
  return places;
}

// Multiply-adds of one window's causal attention in one block, times two.
double attention_flops(const ModelConfig& c, int64_t length) {
  return 2.0 * static_cast<double>(length * length * c.heads * c.head_dim);
}

using Types = std::map<std::string, SourceType>;

// The grid of a tensor that becomes blocks of `type`.
void plan_blocks(const Recipe& recipe, const SourceType& type, PlannedTensor* t) {
  t->grid = {};
  t->grid.clip = recipe.grid.clip;
  t->grid.kind = type.kind->name;
  t->grid.bits = type.kind->fixed_bits;
  t->ggml_type = type.ggml_type;
  t->stored_type = ggml_type_info(type.ggml_type)->name;
}

void count_bytes(const Plan& plan, int64_t rows, int64_t cols, PlannedTensor* t) {
  const auto dense = static_cast<uint64_t>(cols * dtype_size(plan.recipe.dense_type));
  const uint64_t row = t->ggml_type >= 0 ? ggml_row_bytes(t->ggml_type, cols).value_or(0) : dense;
  t->stored_bytes = static_cast<uint64_t>(rows) * row;
}

// False: the mix leaves this linear as it is.
Result<bool> plan_linear(Plan& plan, const Types& types, const Place& place, PlannedTensor* t) {
  const Recipe& recipe = plan.recipe;
  const auto& [block, tap, linear, count] = place;
  t->grid = recipe.grid_of(linear.role);
  t->stored_type = std::string(dtype_name(recipe.dense_type));
  if (const auto type = types.find(t->name); type != types.end()) {
    if (type->second.kind == nullptr) {
      t->stored_type = ggml_type_info(type->second.ggml_type)->name;
      t->stored_bytes = static_cast<uint64_t>(count * linear.out) *
                        ggml_row_bytes(type->second.ggml_type, linear.in).value_or(0);
      t->reason = "the mix keeps it";
      return false;
    }
    plan_blocks(recipe, type->second, t);
  }
  COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_grid(t->grid.kind));
  const Status fits = kind->check(t->grid, linear.in);
  if (!fits.ok()) return fits.with_context("tensor " + t->name);
  t->action = TensorAction::kQuantise;
  t->block = block;
  t->tap = tap;
  t->role = linear.role;
  t->linears = count;
  count_bytes(plan, count * linear.out, linear.in, t);
  COLDPRESS_RETURN_IF_ERROR(plan_codes(recipe, linear.is_stacked, t));
  t->grid_bits_per_weight = kind->bits_per_weight(t->grid, linear.in);
  t->bits_per_weight =
      t->grid_bits_per_weight + planned_side_bits(recipe.solver, linear.out, linear.in) /
                                    static_cast<double>(linear.out * linear.in);
  plan.quantised_weights += count * linear.out * linear.in;
  return true;
}

// The head, on the grid of the blocks' linears, where the recipe asks for it.
Result<bool> plan_head(const Model& model, Plan& plan, PlannedTensor* t) {
  const std::optional<std::string> head = model.role_tensor("output", 0);
  if (!plan.recipe.quantise_head || t->name != head) return false;
  const LinearRef linear{"output", t->name, t->shape[0], t->shape[1]};
  return plan_linear(plan, {}, {-1, kHeadTap, linear, 1}, t);
}

// Embeddings and the head, which a mix quantises. False: the tensor is none, or stays.
Result<bool> plan_outside(const Model& model, Plan& plan, const Types& types, PlannedTensor* t) {
  const auto type = types.find(t->name);
  if (types.empty()) return plan_head(model, plan, t);
  if (type == types.end() || type->second.kind == nullptr) return false;
  const std::optional<std::string> head = model.role_tensor("output", 0);
  const bool is_head = head.has_value() && t->name == *head;
  const bool is_embedding = t->name == model.role_tensor("token_embd", 0);
  if (t->shape.size() != 2 || (!is_head && !is_embedding)) {
    return unsupported(fmt::format(
        "tensor {} would be {}, but coldpress quantises only linears, embeddings and the "
        "head; keep it with --tensor-type",
        t->name, ggml_type_info(type->second.ggml_type)->name));
  }
  plan_blocks(plan.recipe, type->second, t);
  t->action = TensorAction::kQuantise;
  t->role = is_head ? "output" : "token_embd";
  t->tap = is_head || !head.has_value() ? kHeadTap : kEmbeddingTap;
  t->linears = 1;
  count_bytes(plan, t->shape[0], t->shape[1], t);
  t->grid_bits_per_weight = type->second.kind->bits_per_weight(t->grid, t->shape[1]);
  t->bits_per_weight = t->grid_bits_per_weight;
  plan.quantised_weights += t->shape[0] * t->shape[1];
  return true;
}

void plan_copy(const Model& model, const Recipe& recipe, const SourceTensor& source,
               PlannedTensor* t) {
  t->stored_type = source.type;
  t->stored_bytes = t->source_bytes;
  if (source.is_packed || (source.is_edited && source.shape.size() == 2)) {
    t->stored_type = std::string(dtype_name(recipe.dense_type));
    t->stored_bytes =
        static_cast<uint64_t>(source.shape[0] * source.shape[1] * dtype_size(recipe.dense_type));
  }
  const char* plain = source.shape.size() < 2 ? "a vector: norms and biases keep their precision"
                                              : "not a linear of a block";
  t->reason = known_extra(model, source).value_or(plain);
  if (source.is_edited) t->reason += "; its values are a transform's";
}

// Roles that have grids of their own must be there.
Status check_roles(const Model& model, const Recipe& recipe) {
  for (const auto& [role, grid] : recipe.role_grids) {
    const RoleSpec* spec = find_role(model.architecture(), role);
    if (spec == nullptr || !spec->is_linear()) {
      std::string known;
      for (const RoleSpec& r : model.architecture().roles) {
        if (r.is_linear()) known += (known.empty() ? "" : ", ") + std::string(r.role);
      }
      return invalid_argument(
          fmt::format("the recipe has a grid for role {}, which {} has not; there are {}", role,
                      model.architecture().name, known));
    }
    COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_grid(grid.kind));
    if (kind->block != nullptr || !recipe.types.mix.empty()) {
      return invalid_argument("grids of roles and GGUF types exclude each other");
    }
  }
  return {};
}

Status check_types(const Recipe& recipe) {
  if (recipe.types.mix.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(const GridKind* kind, find_grid(recipe.grid.kind));
    if (kind->block == nullptr) return {};
    return invalid_argument(
        fmt::format("--grid {} is a format of GGUF blocks; ask for it by --type instead of --bits",
                    kind->name));
  }
  const GridOptions plain;
  if (recipe.grid.kind != plain.kind || recipe.grid.group != plain.group || recipe.grid.symmetric ||
      recipe.grid.scale_type != plain.scale_type) {
    return invalid_argument(
        "--type brings groups and scales of its own; leave --grid, --group, --symmetric and "
        "--scale-type out");
  }
  COLDPRESS_ASSIGN_OR_RETURN(const Mix mix, find_mix(recipe.types.mix));
  if (!mix.is_quantised) {
    return invalid_argument(
        fmt::format("--type {} quantises nothing; coldpress convert writes it", mix.name));
  }
  if (recipe.solver.outlier_fraction > 0) {
    return invalid_argument("--type has no place for --outliers beside its blocks");
  }
  return {};
}

}  // namespace

const PlannedTensor* Plan::find(const std::string& name) const {
  for (const PlannedTensor& t : tensors) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

Result<Plan> make_plan(const Model& model, const Recipe& recipe, int threads, uint64_t max_ram) {
  COLDPRESS_RETURN_IF_ERROR(check_types(recipe));
  COLDPRESS_RETURN_IF_ERROR(check_code_recipe(model, recipe));
  COLDPRESS_RETURN_IF_ERROR(check_roles(model, recipe));
  COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* method, find_solver(recipe.method));
  COLDPRESS_RETURN_IF_ERROR(check_outliers(*method, recipe.solver));
  COLDPRESS_ASSIGN_OR_RETURN(const SolverMethod* init, find_init(recipe.init, *method));
  const ModelConfig& config = model.config();
  if (recipe.samples < 1 || recipe.seqlen < 2) {
    return invalid_argument("calibration needs --samples of at least 1 and --seqlen of at least 2");
  }
  if (config.context > 0 && recipe.seqlen > config.context) {
    return invalid_argument(fmt::format("--seqlen {} is longer than the model's context of {}",
                                        recipe.seqlen, config.context));
  }
  Plan plan;
  plan.recipe = recipe;
  plan.recipe.solver.init = init;
  plan.recipe.propagate = recipe.propagate && method->uses_hessian;
  const bool propagate = plan.recipe.propagate;
  plan.set_aside = model.set_aside();
  Types types;
  if (!recipe.types.mix.empty()) {
    COLDPRESS_ASSIGN_OR_RETURN(types, types_of_source(model, recipe.types));
  }
  const std::map<std::string, Place> places = linear_places(model);
  const double tokens = static_cast<double>(recipe.samples * recipe.seqlen);
  double stored_bits = 0;
  for (const SourceTensor& source : model.tensors()) {
    PlannedTensor t;
    t.name = source.name;
    t.source_type = source.type;
    t.shape = source.shape;
    t.is_edited = source.is_edited;
    t.source_bytes = source.data.size();
    const auto place = places.find(source.name);
    if (place != places.end()) {
      COLDPRESS_ASSIGN_OR_RETURN(const bool quantised, plan_linear(plan, types, place->second, &t));
      const auto& [block, tap, linear, count] = place->second;
      const int64_t weights = count * linear.out * linear.in;
      if (quantised) stored_bits += t.bits_per_weight * static_cast<double>(weights);
      const double share = linear.expert < 0 ? 1.0
                                             : static_cast<double>(config.experts_used) /
                                                   static_cast<double>(config.experts);
      plan.forward_flops += 2.0 * tokens * share * static_cast<double>(weights);
    } else {
      COLDPRESS_ASSIGN_OR_RETURN(const bool quantised, plan_outside(model, plan, types, &t));
      if (quantised) {
        stored_bits += t.bits_per_weight * static_cast<double>(t.shape[0] * t.shape[1]);
      } else {
        plan_copy(model, recipe, source, &t);
      }
    }
    plan.tensors.push_back(std::move(t));
  }
  if (plan.quantised_weights > 0) {
    plan.bits_per_weight = stored_bits / static_cast<double>(plan.quantised_weights);
  }
  for (int block = 0; block < config.blocks; ++block) {
    for (const Tap& tap : model.taps(block)) {
      const int64_t width = tap.width / tap.slots();
      // Experts' own Grams and the pooled one.
      const auto rows = static_cast<double>(tap.by_expert ? tap.slots() + config.experts_used : 1);
      const double gram = rows * tokens * static_cast<double>(width) * static_cast<double>(width);
      plan.gram_flops += gram;
      if (propagate && !tap.by_expert) {
        // The drift of inputs; or what the linear makes of it, and the drift of the stream.
        plan.gram_flops += tap.adds_to_residual ? 4.0 * tokens * static_cast<double>(width) *
                                                      static_cast<double>(config.hidden)
                                                : 2.0 * gram;
      }
    }
    plan.forward_flops +=
        static_cast<double>(recipe.samples) * attention_flops(config, recipe.seqlen);
  }
  if (propagate) plan.forward_flops *= 2;
  COLDPRESS_ASSIGN_OR_RETURN(plan.memory, plan_memory(model, plan, *method, {threads, max_ram}));
  return plan;
}

Json plan_to_json(const Plan& plan) {
  Json tensors = Json::array();
  for (const PlannedTensor& t : plan.tensors) {
    Json row = {{"name", t.name},
                {"action", t.action == TensorAction::kQuantise ? "quantise" : "copy"},
                {"shape", t.shape},
                {"source_type", t.source_type},
                {"stored_type", t.stored_type},
                {"source_bytes", t.source_bytes},
                {"stored_bytes", t.stored_bytes}};
    if (t.action == TensorAction::kQuantise) {
      row["block"] = t.block;
      row["role"] = t.role;
      row["tap"] = t.tap;
      row["bits_per_weight"] = t.bits_per_weight;
    } else {
      row["reason"] = t.reason;
    }
    tensors.push_back(std::move(row));
  }
  Json dropped = Json::array();
  for (const SetAside& part : plan.set_aside) {
    dropped.push_back({{"name", part.name}, {"shape", part.shape}, {"reason", part.reason}});
  }
  return {{"recipe", recipe_to_json(plan.recipe)},
          {"bits_per_weight", plan.bits_per_weight},
          {"quantised_weights", plan.quantised_weights},
          {"predicted_peak_bytes", plan.memory.peak},
          {"memory", memory_to_json(plan.memory)},
          {"forward_flops", plan.forward_flops},
          {"gram_flops", plan.gram_flops},
          {"tensors", std::move(tensors)},
          {"dropped", std::move(dropped)}};
}

}  // namespace coldpress
