#include "pipeline/plan_types.h"

#include <fmt/format.h>

#include <vector>

#include "export/layout.h"
#include "grid/block_format.h"
#include "io/ggml_codec.h"

namespace coldpress {
namespace {

Result<const GridKind*> kind_of(const TensorTypeChoice& choice) {
  std::string known;
  for (const GridKind* kind : grid_table()) {
    if (kind->block == nullptr) continue;
    if (kind->block->ggml_type == choice.ggml_type) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind->name);
  }
  return unsupported(fmt::format(
      "tensor {} would be {}, which coldpress cannot make yet; it makes {}: choose another mix, or "
      "--tensor-type",
      choice.name, ggml_type_info(choice.ggml_type)->name, known));
}

}  // namespace

Result<std::map<std::string, SourceType>> types_of_source(const Model& model,
                                                          const MixOptions& options) {
  COLDPRESS_ASSIGN_OR_RETURN(const Layout layout, unquantised_gguf_layout(model));
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<TensorTypeChoice> choices,
                             gguf_types(model, layout, options));
  COLDPRESS_CHECK(choices.size() == layout.tensors.size());
  std::map<std::string, SourceType> types;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const OutputTensor& out = layout.tensors[i];
    const TensorTypeChoice& choice = choices[i];
    SourceType type{choice.ggml_type, nullptr};
    if (ggml_type_info(choice.ggml_type)->is_quantised && choice.is_quantised) {
      COLDPRESS_ASSIGN_OR_RETURN(type.kind, kind_of(choice));
    } else if (choice.ggml_type != out.ggml_type) {
      return unsupported(
          fmt::format("tensor {} would be {}, but the source has it as {}; convert the source to a "
                      "dense type first",
                      choice.name, ggml_type_info(choice.ggml_type)->name,
                      ggml_type_info(out.ggml_type)->name));
    }
    std::vector<std::string> sources = {out.source};
    for (const Piece& piece : out.pieces) sources.push_back(piece.source);
    for (const std::string& source : sources) {
      if (source.empty()) continue;
      const auto [at, is_new] = types.emplace(source, type);
      if (is_new || at->second.ggml_type == type.ggml_type) continue;
      return unsupported(fmt::format(
          "parts of tensor {} would get different types; use --tensor-type to give them "
          "one",
          source));
    }
  }
  return types;
}

}  // namespace coldpress
