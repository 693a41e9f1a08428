#include "transform/weight_edits.h"

#include "base/check.h"

namespace coldpress {

std::string WeightEdits::head_name() const {
  const RoleSpec* role = find_role(model_.architecture(), "output");
  COLDPRESS_CHECK(role != nullptr);
  return tensor_name(*role, model_.is_gguf() ? Naming::kGguf : Naming::kHf, -1);
}

std::vector<std::string> WeightEdits::names_of(const RoleSpec& role, int block) const {
  std::vector<std::string> names;
  if (role.role == "output" && untied_) return {head_name()};
  if (!role.per_expert) {
    if (auto name = model_.role_tensor(role.role, block)) names.push_back(std::move(*name));
    return names;
  }
  for (const Tap& tap : model_.taps(block)) {
    for (const LinearRef& linear : tap.linears) {
      if (linear.role != role.role || (linear.is_stacked && linear.expert != 0)) continue;
      names.push_back(linear.tensor_name);
    }
  }
  return names;
}

void WeightEdits::add(std::string_view role, int block, const Edit& edit) {
  const RoleSpec* spec = find_role(model_.architecture(), role);
  if (spec == nullptr) return;
  for (const std::string& name : names_of(*spec, block)) edits_[name].push_back(edit);
}

void WeightEdits::rotate_readers(std::string_view tap, int block, RotationBlocks rotations) {
  const Edit edit = [rotations](View2<float> values) {
    int64_t at = 0;
    for (const auto& r : rotations) {
      r->to_rows(values.block(0, at, values.rows, r->n()));
      at += r->n();
    }
    return Status();
  };
  if (tap == kHeadTap) add("output", block, edit);
  for (const RoleSpec& role : model_.architecture().roles) {
    if (role.tap == tap) add(role.role, block, edit);
  }
  tap_rotations_[{std::string(tap), block}] = std::move(rotations);
}

void WeightEdits::add_to_writers(std::string_view tap, int block, const Edit& matrix,
                                 const Edit& bias) {
  for (const RoleSpec& role : model_.architecture().roles) {
    if (role.tap != tap) continue;
    add(role.role, block, matrix);
    add(std::string(role.role) + "_bias", block, bias);
  }
}

void WeightEdits::untie() { untied_ = untied_ || model_.config().tied_embeddings; }

}  // namespace coldpress
