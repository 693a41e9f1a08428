#include "transform/transformed_model.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "io/ggml_codec.h"
#include "transform/samples.h"
#include "transform/table.h"

namespace coldpress {
namespace {

// As the container spells F32, F16 or BF16.
std::string type_name(const Model& model, DType type) {
  if (!model.is_gguf()) return std::string(dtype_name(type));
  const int32_t id = type == DType::kF32 ? kGgmlF32 : (type == DType::kF16 ? kGgmlF16 : kGgmlBF16);
  return ggml_type_info(id)->name;
}

std::optional<DType> plain_type(const Model& model, const std::string& name) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (type_name(model, type) == name) return type;
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<TransformedModel>> TransformedModel::create(const Model& source,
                                                                   const TransformOptions& options,
                                                                   DType dense_type) {
  WeightEdits edits(source);
  edits.online() = source.config().online;
  for (const TransformStep& step : options.steps) {
    COLDPRESS_ASSIGN_OR_RETURN(const TransformKind* kind, find_transform(step.name));
    const Status fits = kind->check(source, step);
    if (!fits.ok()) return fits.with_context("transform " + step.text());
    if (kind->edit != nullptr) kind->edit(source, step, options, edits);
  }
  if (options.activations.bits > 0) edits.online().activations = options.activations;
  if (options.kv.bits > 0) edits.online().kv = options.kv;
  const int64_t group = edits.online().kv.group;
  if (group > 0 && source.config().head_dim % group != 0) {
    return invalid_argument(fmt::format("--kv-group {} does not divide the heads' {} values", group,
                                        source.config().head_dim));
  }
  return std::unique_ptr<TransformedModel>(new TransformedModel(source, edits, dense_type));
}

TransformedModel::TransformedModel(const Model& source, const WeightEdits& edits, DType dense_type)
    : source_(source),
      config_(source.config()),
      tensors_(source.tensors()),
      learners_(edits.learners()),
      tap_rotations_(edits.tap_rotations()) {
  config_.online = edits.online();
  const std::string table = *source.role_tensor("token_embd", 0);
  if (edits.is_untied()) {
    config_.tied_embeddings = false;
    untied_head_ = edits.head_name();
    // A copy of the embeddings that a tied model may keep gives way.
    std::erase_if(tensors_, [&](const SourceTensor& t) { return t.name == untied_head_; });
    SourceTensor head = *source.find(table);
    head.name = untied_head_;
    head.type = type_name(source, dense_type);
    head.data = {};
    head.is_packed = false;
    head.is_edited = true;
    tensors_.push_back(std::move(head));
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    SourceTensor& tensor = tensors_[i];
    index_[tensor.name] = i;
    const auto found = edits.edits().find(tensor.name);
    const bool is_new = tensor.name == untied_head_;
    if (found == edits.edits().end() && !is_new) continue;
    tensor.is_edited = true;
    Change change = change_of(
        tensor, found == edits.edits().end() ? std::vector<WeightEdits::Edit>() : found->second,
        dense_type);
    if (is_new) change.from = table;
    changes_.emplace(tensor.name, std::move(change));
  }
}

TransformedModel::Change TransformedModel::change_of(const SourceTensor& tensor,
                                                     const std::vector<WeightEdits::Edit>& edits,
                                                     DType dense_type) const {
  Change change{edits, tensor.name, 0, {}};
  const auto match =
      match_tensor(architecture(), is_gguf() ? Naming::kGguf : Naming::kHf, tensor.name);
  COLDPRESS_CHECK(match.has_value());
  if (match->role->is_gain) change.offset = static_cast<float>(config_.norm_weight_offset);
  if (match->role->is_linear()) return change;  // rounded by whoever presses it
  // GGUF's vectors are of the type that readers count on.
  const std::optional<DType> own = plain_type(source_, tensor.type);
  const bool keeps_type = is_gguf() && tensor.shape.size() == 1 && own.has_value();
  change.rounded = keeps_type ? *own : dense_type;
  return change;
}

const SourceTensor* TransformedModel::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &tensors_[at->second];
}

std::optional<std::string> TransformedModel::role_tensor(std::string_view role, int block) const {
  if (role == "output" && !untied_head_.empty()) return untied_head_;
  return source_.role_tensor(role, block);
}

RotationBlocks TransformedModel::tap_rotations(std::string_view tap, int block) const {
  const auto at = tap_rotations_.find({std::string(tap), block});
  return at == tap_rotations_.end() ? RotationBlocks() : at->second;
}

Result<MatrixF> TransformedModel::load(const std::string& tensor_name, const Memory& memory) const {
  const auto at = changes_.find(tensor_name);
  if (at == changes_.end()) return source_.load(tensor_name, memory);
  const auto replaced = replaced_.find(tensor_name);
  if (replaced != replaced_.end()) return replaced->second.clone();
  const Change& change = at->second;
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF values, source_.load(change.from, memory));
  const auto add = [&values](float offset) {
    for (int64_t i = 0; i < values.size() && offset != 0; ++i) values.data()[i] += offset;
  };
  add(change.offset);
  for (const WeightEdits::Edit& edit : change.edits) {
    COLDPRESS_RETURN_IF_ERROR(edit(values.view()));
  }
  add(-change.offset);
  if (change.rounded) {
    round_to_dtype(*change.rounded,
                   std::span<float>(values.data(), static_cast<std::size_t>(values.size())));
  }
  return values;
}

Status TransformedModel::learn(const CalibrationWindows& windows, ThreadPool& pool) {
  if (learners_.empty()) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const Samples samples, sample_model(source_, windows, pool));
  for (const WeightEdits::Learn& learn : learners_) learn(samples, pool);
  return {};
}

void TransformedModel::replace(const std::string& tensor_name, MatrixF values) {
  COLDPRESS_CHECK(changes_.contains(tensor_name));
  replaced_.insert_or_assign(tensor_name, std::move(values));
}

}  // namespace coldpress
