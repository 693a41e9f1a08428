#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/memory.h"
#include "model/model.h"

namespace coldpress {
namespace {

template <typename Entry>
const MatrixF* find_entry(const std::vector<Entry>& entries, std::string_view role) {
  for (const Entry& entry : entries) {
    if (entry.role == role) return &entry.value;
  }
  return nullptr;
}

// Loads the roles for which `wanted` holds and which the model has.
template <typename Entry, typename Wanted>
Status load_roles(const Model& model, int block, const Memory& memory, Wanted wanted,
                  std::vector<Entry>& entries) {
  for (const RoleSpec& role : model.architecture().roles) {
    if (!wanted(role) || role.per_expert) continue;
    const auto name = model.role_tensor(role.role, block);
    if (!name) continue;
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF value, model.load(*name, memory));
    const auto offset = static_cast<float>(model.config().norm_weight_offset);
    if (role.is_gain && offset != 0.0F) {
      for (int64_t i = 0; i < value.size(); ++i) value.data()[i] += offset;
    }
    entries.push_back({std::string(role.role), std::move(value)});
  }
  return {};
}

// The matrices of all experts, one below the other: (experts * out, in).
Result<MatrixF> load_experts(const Model& model, const std::vector<LinearRef>& linears,
                             std::string_view role, const Memory& memory) {
  MatrixF all;
  for (const LinearRef& linear : linears) {
    if (linear.role != role) continue;
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF one, model.load(linear.tensor_name, memory));
    if (linear.is_stacked) return one;
    if (all.empty()) {
      COLDPRESS_ASSIGN_OR_RETURN(
          all, MatrixF::create(model.config().experts * linear.out, linear.in, memory));
    }
    std::copy_n(one.data(), one.size(), all.row(linear.expert * linear.out));
  }
  return all;
}

}  // namespace

Result<BlockWeights> BlockWeights::load(const Model& model, int block, const Memory& memory) {
  COLDPRESS_CHECK(block >= 0 && block < model.config().blocks);
  BlockWeights weights;
  COLDPRESS_RETURN_IF_ERROR(load_roles(
      model, block, memory, [](const RoleSpec& role) { return role.per_block(); },
      weights.entries_));
  for (const Tap& tap : model.taps(block)) {
    for (const LinearRef& linear : tap.linears) {
      if (linear.expert != 0) continue;  // the first stands for its role
      COLDPRESS_ASSIGN_OR_RETURN(MatrixF all,
                                 load_experts(model, tap.linears, linear.role, memory));
      weights.entries_.push_back({linear.role, std::move(all)});
    }
  }
  return weights;
}

void BlockWeights::read_ahead(const Model& model, int block) {
  for (const Tap& tap : model.taps(block)) {
    for (const LinearRef& linear : tap.linears) {
      if (linear.is_stacked && linear.expert > 0) continue;  // the first has named them all
      const SourceTensor* tensor = model.find(linear.tensor_name);
      if (tensor != nullptr) will_need(tensor->data.data(), tensor->data.size());
    }
  }
}

View2<float> BlockWeights::linear(const LinearRef& linear) {
  const View2<float> all = this->linear(linear.role);
  return linear.expert < 0 ? all : all.row_range(linear.expert * linear.out, linear.out);
}

View2<float> BlockWeights::linear(const std::string& role) {
  for (Entry& entry : entries_) {
    if (entry.role == role) return entry.value.view();
  }
  COLDPRESS_CHECK(false);
}

View2<const float> BlockWeights::linear(const std::string& role) const {
  const MatrixF* value = find(role);
  COLDPRESS_CHECK(value != nullptr);
  return value->view();
}

const MatrixF* BlockWeights::find(const std::string& role) const {
  return find_entry(entries_, role);
}

Result<HeadWeights> HeadWeights::load(const Model& model, Part part, const Memory& memory) {
  HeadWeights weights;
  COLDPRESS_RETURN_IF_ERROR(load_roles(
      model, 0, memory,
      [part](const RoleSpec& role) {
        if (role.per_block() || role.role == "rope_factors") return false;
        const bool is_norm = role.role.starts_with("output_norm");
        return part == Part::kAll || (part == Part::kFinalNorm && is_norm) ||
               (part == Part::kEmbedding && !is_norm && role.role != "output");
      },
      weights.entries_));
  return weights;
}

const MatrixF* HeadWeights::find(const std::string& role) const {
  return find_entry(entries_, role);
}

void HeadWeights::replace(const std::string& role, MatrixF value) {
  for (Entry& entry : entries_) {
    if (entry.role != role) continue;
    COLDPRESS_CHECK(value.rows() == entry.value.rows() && value.cols() == entry.value.cols());
    entry.value = std::move(value);
    return;
  }
  COLDPRESS_CHECK(false);
}

}  // namespace coldpress
