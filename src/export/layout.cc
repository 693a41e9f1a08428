#include "export/layout.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "export/conversion.h"
#include "io/ggml_codec.h"

namespace coldpress {
namespace {

// Whether a matrix holds weights of a type that load() decodes.
bool can_be_dense(const Model& model, const SourceTensor& t) {
  if (model.is_gguf()) {
    const auto type = ggml_type_from_name(t.type);
    const auto info = type.has_value() ? ggml_type_info(*type) : std::nullopt;
    return info.has_value() && info->decodable;
  }
  const auto type = dtype_from_name(t.type);
  return type.has_value() && dtype_is_float(*type);
}

// The same container: everything stays where it is, only quantised tensors change their type.
Result<OutputTensor> same_container(const ExportRequest& request, const SourceTensor& t,
                                    bool quantised, Naming target) {
  const Model& model = request.model;
  const DType dense_type = request.dense_type;
  OutputTensor out;
  out.source = t.name;
  out.name = t.name;
  out.shape = t.shape;
  if (target == Naming::kHf) out.shard = t.shard;
  const auto match = match_tensor(model.architecture(), target, t.name);
  out.transposed = target == Naming::kHf && match.has_value() && match->role->hf_transposed;
  const bool made_dense = request.all_dense && t.shape.size() == 2 && can_be_dense(model, t) &&
                          t.type != type_label(dense_type, target);
  // GGUF's vectors keep their type, which readers count on.
  const bool keeps_type =
      target == Naming::kGguf && t.shape.size() == 1 && plain_type(t.type, target).has_value();
  const bool rewritten = t.is_edited && !keeps_type;
  if (quantised || t.is_packed || made_dense || rewritten) {
    out.how = quantised ? OutputTensor::How::kQuantised : OutputTensor::How::kConverted;
    out.dtype = dense_type;
    out.ggml_type = ggml_type_of(dense_type);
    out.stored_type = type_label(dense_type, target);
    return out;
  }
  if (t.is_edited) out.how = OutputTensor::How::kConverted;
  out.stored_type = t.type;
  const auto dtype = dtype_from_name(t.type);
  const auto ggml_type = ggml_type_from_name(t.type);
  if (target == Naming::kHf ? !dtype.has_value() : !ggml_type.has_value()) {
    return unsupported(fmt::format("{}: tensor \"{}\" is stored as {}, which cannot be written",
                                   model.path().string(), t.name, t.type));
  }
  if (dtype.has_value()) out.dtype = *dtype;
  if (ggml_type.has_value()) out.ggml_type = *ggml_type;
  return out;
}

// Values, (out, in) or a vector as one row, in the order in which they are stored: where they are,
// if they are so already, else in `buffer`.
std::span<const float> in_stored_order(const OutputTensor& tensor, View2<const float> values,
                                       MatrixF& buffer) {
  if (tensor.rows.empty() && !tensor.transposed && values.stride == values.cols) {
    return {values.data, static_cast<std::size_t>(values.rows * values.cols)};
  }
  const bool is_vector = tensor.shape.size() == 1;
  buffer = MatrixF(tensor.transposed ? values.cols : values.rows,
                   tensor.transposed ? values.rows : values.cols);
  for (int64_t r = 0; r < values.rows; ++r) {
    const float* from = values.row(is_vector ? r : source_row(tensor, r));
    for (int64_t j = 0; j < values.cols; ++j) {
      const float v = from[is_vector ? source_row(tensor, j) : j];
      (tensor.transposed ? buffer(j, r) : buffer(r, j)) = v;
    }
  }
  return {buffer.data(), static_cast<std::size_t>(buffer.size())};
}

// What a tensor is made of, as (out, in).
Result<MatrixF> load_source(const Model& model, const OutputTensor& tensor) {
  if (tensor.pieces.empty()) return model.load(tensor.source);
  MatrixF all(tensor.pieces.back().at + tensor.pieces.back().rows, tensor.shape.back());
  MatrixF values;
  const std::string* loaded = nullptr;
  for (const Piece& piece : tensor.pieces) {
    if (loaded == nullptr || *loaded != piece.source) {
      COLDPRESS_ASSIGN_OR_RETURN(values, model.load(piece.source));
      loaded = &piece.source;
    }
    std::memcpy(all.row(piece.at), values.row(piece.row),
                static_cast<std::size_t>(piece.rows * all.cols()) * sizeof(float));
  }
  return all;
}

}  // namespace

std::string type_label(DType type, Naming target) {
  return target == Naming::kHf ? std::string(dtype_name(type))
                               : ggml_type_info(ggml_type_of(type))->name;
}

int32_t ggml_type_of(DType type) {
  switch (type) {
    case DType::kF32:
      return kGgmlF32;
    case DType::kF16:
      return kGgmlF16;
    case DType::kBF16:
      return kGgmlBF16;
    default:
      COLDPRESS_CHECK(false);
  }
}

std::optional<DType> plain_type(const std::string& label, Naming source) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (label == type_label(type, source)) return type;
  }
  return std::nullopt;
}

Result<Layout> plan_layout(const ExportRequest& request, Naming target) {
  const Model& model = request.model;
  std::unordered_set<std::string> quantised(request.quantised.begin(), request.quantised.end());
  for (const std::string& name : request.quantised) {
    const SourceTensor* tensor = model.find(name);
    if (tensor == nullptr) {
      return not_found(fmt::format("{}: no tensor \"{}\"", model.path().string(), name));
    }
    COLDPRESS_CHECK(tensor->shape.size() >= 2);
  }
  const Naming source = model.is_gguf() ? Naming::kGguf : Naming::kHf;
  Layout layout;
  if (source != target) {
    COLDPRESS_ASSIGN_OR_RETURN(layout, plan_conversion(request, quantised));
  }
  for (std::size_t i = 0; source == target && i < model.tensors().size(); ++i) {
    const SourceTensor& t = model.tensors()[i];
    COLDPRESS_ASSIGN_OR_RETURN(OutputTensor out,
                               same_container(request, t, quantised.contains(t.name), target));
    layout.tensors.push_back(std::move(out));
  }
  for (OutputTensor& out : layout.tensors) {
    if (out.how != OutputTensor::How::kQuantised) continue;
    const auto type =
        request.block_types.find(out.pieces.empty() ? out.source : out.pieces.front().source);
    if (type == request.block_types.end()) continue;
    if (target == Naming::kHf) {
      return invalid_argument(
          fmt::format("{}: only a GGUF file can hold {} blocks; name the output NAME.gguf",
                      request.out.string(), ggml_type_info(type->second)->name));
    }
    out.in_blocks = true;
    out.ggml_type = type->second;
    out.stored_type = ggml_type_info(type->second)->name;
  }
  for (const SetAside& part : model.set_aside()) {
    layout.dropped.push_back(
        {part.name, "", "", OutputTensor::How::kDropped, part.reason, part.shape});
  }
  return layout;
}

int64_t source_row(const OutputTensor& tensor, int64_t r) {
  return tensor.rows.empty() ? r : tensor.rows[static_cast<std::size_t>(r)];
}

Result<std::span<const std::byte>> stored_bytes(const Model& model, const OutputTensor& tensor,
                                                std::vector<std::byte>& buffer) {
  COLDPRESS_CHECK(tensor.how != OutputTensor::How::kQuantised);
  if (tensor.how == OutputTensor::How::kCopied) {
    const SourceTensor* source = model.find(tensor.source);
    COLDPRESS_CHECK(source != nullptr);
    return source->data;
  }
  const auto size = static_cast<std::size_t>(dtype_size(tensor.dtype));
  if (tensor.source.empty()) {
    buffer.resize(tensor.values.size() * size);
    COLDPRESS_CHECK(encode_from_f32(tensor.dtype, tensor.values, buffer));
    return std::span<const std::byte>(buffer);
  }
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF values, load_source(model, tensor));
  constexpr float kLargestF16 = 65504.0F;
  for (int64_t i = 0; i < values.size() && tensor.dtype == DType::kF16; ++i) {
    if (std::fabs(values.data()[i]) > kLargestF16) {
      return unsupported(
          fmt::format("{}: tensor \"{}\" holds {}, which F16 cannot; use --dense-type "
                      "bf16 or f32",
                      model.path().string(), tensor.source, values.data()[i]));
    }
  }
  // Not for zero: -0.0 would become 0.0.
  for (int64_t i = 0; i < values.size() && tensor.add != 0.0F; ++i) values.data()[i] += tensor.add;
  MatrixF moved;
  const std::span<const float> flat = in_stored_order(tensor, values.view(), moved);
  buffer.resize(flat.size() * size);
  COLDPRESS_CHECK(encode_from_f32(tensor.dtype, flat, buffer));
  return std::span<const std::byte>(buffer);
}

void drop_source(const Model& model, const OutputTensor& tensor) {
  const SourceTensor* source = model.find(tensor.source);
  if (source != nullptr) drop_mapped(source->data.data(), source->data.size());
}

namespace {

// Packed rows in the order in which they are stored.
void encode_blocks(const OutputTensor& tensor, const PressedTensor& pressed,
                   std::vector<std::byte>& buffer) {
  const View2<const std::byte> blocks = pressed.blocks;
  COLDPRESS_CHECK(blocks.rows == pressed.values.rows && !tensor.transposed);
  const auto row_bytes = static_cast<std::size_t>(blocks.cols);
  buffer.resize(static_cast<std::size_t>(blocks.rows) * row_bytes);
  std::vector<float> decoded(static_cast<std::size_t>(pressed.values.cols));
  for (int64_t r = 0; r < blocks.rows; ++r) {
    const int64_t from = source_row(tensor, r);
    const std::span<std::byte> row(buffer.data() + static_cast<std::size_t>(r) * row_bytes,
                                   row_bytes);
    std::memcpy(row.data(), blocks.row(from), row_bytes);
    COLDPRESS_CHECK(decode_ggml(tensor.ggml_type, row, pressed.values.cols, decoded));
    COLDPRESS_CHECK(
        std::memcmp(decoded.data(), pressed.values.row(from), decoded.size() * sizeof(float)) == 0);
  }
}

}  // namespace

void encode_exact(const OutputTensor& tensor, const PressedTensor& pressed,
                  std::vector<std::byte>& buffer) {
  COLDPRESS_CHECK(tensor.in_blocks == (pressed.blocks.rows > 0));
  if (tensor.in_blocks) return encode_blocks(tensor, pressed, buffer);
  MatrixF moved;
  const std::span<const float> flat = in_stored_order(tensor, pressed.values, moved);
  buffer.resize(flat.size() * static_cast<std::size_t>(dtype_size(tensor.dtype)));
  std::vector<float> decoded(flat.size());
  COLDPRESS_CHECK(encode_from_f32(tensor.dtype, flat, buffer));
  COLDPRESS_CHECK(decode_to_f32(tensor.dtype, buffer, decoded));
  COLDPRESS_CHECK(std::memcmp(decoded.data(), flat.data(), flat.size() * sizeof(float)) == 0);
}

}  // namespace coldpress
