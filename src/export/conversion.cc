#include "export/conversion.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "export/gguf_head.h"
#include "io/ggml_codec.h"
#include "model/convention.h"
#include "model/extras.h"

namespace coldpress {
namespace {

using How = OutputTensor::How;

Naming source_of(Naming target) { return target == Naming::kHf ? Naming::kGguf : Naming::kHf; }

void arrange(const RoleSpec& role, const Architecture& arch, const ModelConfig& config,
             Naming target, OutputTensor& out) {
  out.rows = row_order(arch, role, config, source_of(target), target);
  if (role.hf_transposed) std::swap(out.shape.front(), out.shape.back());
  out.transposed = role.hf_transposed && target == Naming::kHf;
  if (role.is_gain) {
    const auto offset = static_cast<float>(arch.hf_norm_offset);
    out.add = target == Naming::kGguf ? offset : -offset;
  }
}

OutputTensor convert(const ExportRequest& request, const SourceTensor& t, const RoleMatch& match,
                     bool quantised, Naming source, Naming target) {
  const Model& model = request.model;
  OutputTensor out;
  out.source = t.name;
  out.name = tensor_name(*match.role, target, match.block);
  if (target == Naming::kHf) out.shard = kSingleShard;
  out.shape = t.shape;
  arrange(*match.role, model.architecture(), model.config(), target, out);
  const std::optional<DType> plain = plain_type(t.type, source);
  if (quantised || (target == Naming::kHf && !plain.has_value())) {
    out.dtype = request.dense_type;
  } else if (target == Naming::kHf) {
    const bool dense = (request.all_dense || t.is_edited) && t.shape.size() > 1;
    out.dtype = dense ? request.dense_type : *plain;
  } else {
    out.dtype = t.shape.size() == 1 ? DType::kF32 : request.dense_type;
  }
  const bool as_is = !t.is_edited && plain == out.dtype && out.rows.empty() &&
                     !match.role->hf_transposed && out.add == 0.0F;
  out.how = quantised ? How::kQuantised : (as_is ? How::kCopied : How::kConverted);
  if (target == Naming::kGguf) out.ggml_type = ggml_type_of(out.dtype);
  out.stored_type = type_label(out.dtype, target);
  return out;
}

// Experts are one tensor each in a folder and one 3-D tensor in GGUF: `out`, made for `t` alone, as
// the output has it.
void regroup_experts(const ModelConfig& config, const SourceTensor& t, const RoleMatch& match,
                     Naming target, OutputTensor out, std::vector<OutputTensor>& tensors) {
  const int64_t rows = extent_size(match.role->rows, config);
  const bool to_stacked = target == Naming::kGguf;
  if (match.is_stacked == to_stacked) {
    tensors.push_back(std::move(out));
    return;
  }
  if (out.how == How::kCopied) out.how = How::kConverted;
  if (to_stacked) {
    const Piece piece{t.name, 0, rows, match.expert * rows};
    const auto whole = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const OutputTensor& o) { return o.name == out.name; });
    if (whole != tensors.end()) {
      whole->pieces.push_back(piece);
      std::sort(whole->pieces.begin(), whole->pieces.end(),
                [](const Piece& a, const Piece& b) { return a.at < b.at; });
      return;
    }
    out.shape.insert(out.shape.begin(), config.experts);
    out.pieces = {piece};
    tensors.push_back(std::move(out));
    return;
  }
  out.shape.erase(out.shape.begin());
  for (int64_t e = 0; e < config.experts; ++e) {
    OutputTensor one = out;
    one.name = tensor_name(*match.role, target, match.block, e);
    one.pieces = {{t.name, e * rows, rows, 0}};
    tensors.push_back(std::move(one));
  }
}

// A folder's experts in one 3-D tensor with gate above up, as GGUF's two: expert by expert, the
// upper rows to one and the lower to the other.
void split_halves(const Model& model, const SourceTensor& t, const RoleMatch& match,
                  OutputTensor out, std::vector<OutputTensor>& tensors) {
  const ModelConfig& config = model.config();
  const int64_t half = extent_size(match.role->rows, config) / 2;
  if (out.how == How::kCopied) out.how = How::kConverted;
  out.shape[1] = half;
  for (const bool lower : {false, true}) {
    const RoleSpec* role =
        find_role(model.architecture(), lower ? match.role->gguf_lower : match.role->gguf_upper);
    out.name = tensor_name(*role, Naming::kGguf, match.block);
    out.pieces.clear();
    for (int64_t e = 0; e < config.experts; ++e) {
      out.pieces.push_back({t.name, (2 * e + (lower ? 1 : 0)) * half, half, e * half});
    }
    tensors.push_back(out);
  }
}

// Why a tensor has no place in the output; nullopt if it has one.
std::optional<std::string> reason_to_drop(const Model& model, const SourceTensor& t,
                                          const std::optional<RoleMatch>& match, Naming source) {
  if (const auto extra = known_extra(model, t)) return extra;
  if (!match.has_value()) return std::nullopt;
  if (match->role->role == "rope_factors") return "follows from the configuration";
  if (match->role->presence == Presence::kUntied && source == Naming::kHf &&
      model.config().tied_embeddings) {
    return "the embeddings are tied, so nothing reads it";
  }
  return std::nullopt;
}

}  // namespace

Result<Layout> plan_conversion(const ExportRequest& request,
                               const std::unordered_set<std::string>& quantised) {
  const Model& model = request.model;
  const Naming source = model.is_gguf() ? Naming::kGguf : Naming::kHf;
  const Naming target = model.is_gguf() ? Naming::kHf : Naming::kGguf;
  if (model.architecture().gguf_name.empty()) {
    return unsupported(
        fmt::format("{}: GGUF has no architecture for {}; choose a folder as the "
                    "output",
                    model.path().string(), model.architecture().name));
  }
  Layout layout;
  for (const SourceTensor& t : model.tensors()) {
    const auto match = match_tensor(model.architecture(), source, t.name);
    if (const auto reason = reason_to_drop(model, t, match, source)) {
      layout.dropped.push_back({t.name, "", "", How::kDropped, *reason, t.shape});
      continue;
    }
    const bool halves =
        match.has_value() && target == Naming::kGguf && !match->role->gguf_upper.empty();
    if (!match.has_value() ||
        (!halves && tensor_name(*match->role, target, match->block).empty())) {
      return unsupported(
          fmt::format("{}: tensor \"{}\" has no counterpart in {}; choose {} as the output",
                      model.path().string(), t.name, target == Naming::kGguf ? "GGUF" : "a folder",
                      target == Naming::kGguf ? "a folder" : "NAME.gguf"));
    }
    OutputTensor out = convert(request, t, *match, quantised.contains(t.name), source, target);
    if (halves) {
      split_halves(model, t, *match, std::move(out), layout.tensors);
    } else if (match->role->per_expert) {
      regroup_experts(model.config(), t, *match, target, std::move(out), layout.tensors);
    } else {
      layout.tensors.push_back(std::move(out));
    }
  }
  if (target == Naming::kGguf) {
    std::vector<float> factors = rope_factor_tensor(model.config());
    const RoleSpec* role = find_role(model.architecture(), "rope_factors");
    if (!factors.empty() && role != nullptr) {
      OutputTensor out;
      out.name = tensor_name(*role, target, -1);
      out.shape = {static_cast<int64_t>(factors.size())};
      out.how = How::kConverted;
      out.ggml_type = kGgmlF32;
      out.stored_type = type_label(DType::kF32, target);
      out.values = std::move(factors);
      layout.tensors.push_back(std::move(out));
    } else if (!factors.empty()) {
      return unsupported(fmt::format(
          "{}: GGUF cannot express this model's rotary frequency scaling; choose a folder as the "
          "output",
          model.path().string()));
    }
  }
  return layout;
}

}  // namespace coldpress
