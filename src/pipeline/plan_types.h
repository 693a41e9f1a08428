// What a mix of GGUF types (export/gguf_mix.h) means for the tensors of a source.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "export/gguf_mix.h"
#include "grid/table.h"
#include "model/model.h"

namespace coldpress {

struct SourceType {
  int32_t ggml_type = 0;
  const GridKind* kind = nullptr;  // null: the tensor is not quantised by the mix
};

// By the source's names. An error names the tensor: a type that coldpress cannot make yet, parts of
// one tensor that would need different types, a plain type that the source does not have.
Result<std::map<std::string, SourceType>> types_of_source(const Model& model,
                                                          const MixOptions& options);

}  // namespace coldpress
