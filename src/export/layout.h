// What the output holds: for each tensor its source, name, shape, type and arrangement. Decided
// from metadata alone, before anything is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "base/view.h"
#include "export/export.h"
#include "model/model.h"
#include "model/table.h"

namespace coldpress {

// Rows of a source tensor as (out, in), and where they stand in an output tensor: how the tensors
// of single experts become the one of all experts, and back.
struct Piece {
  std::string source;
  int64_t row = 0;  // the first, in the source
  int64_t rows = 0;
  int64_t at = 0;  // the first, in the output
};

struct OutputTensor {
  using How = ExportedTensor::How;
  std::string source;  // name in the source; empty: `values` is the content
  std::string name;
  std::string shard;  // Hugging Face: file name; empty otherwise
  std::vector<int64_t> shape;
  How how = How::kCopied;
  DType dtype = DType::kF32;  // safetensors, and the type values are encoded to
  int32_t ggml_type = 0;      // GGUF
  bool in_blocks = false;     // quantised, as packed rows of ggml_type
  std::string stored_type;    // as the container spells it
  std::vector<int64_t> rows;  // row r is the source's row rows[r] (model/convention.h); empty: r
  bool transposed = false;    // a linear that is stored as (in, out)
  float add = 0.0F;           // to each value (RMS gains)
  std::vector<float> values;
  std::vector<Piece> pieces;  // empty: all of `source`
};

// The file that the weights are in where a folder has one.
inline constexpr char kSingleShard[] = "model.safetensors";

struct Layout {
  std::vector<OutputTensor> tensors;  // in the order in which they are stored
  std::vector<ExportedTensor> dropped;
};

std::string type_label(DType type, Naming target);  // as that container spells F32, F16 or BF16
// The inverse; nullopt for every other type.
std::optional<DType> plain_type(const std::string& label, Naming source);
int32_t ggml_type_of(DType type);  // F32, F16 or BF16

// The layout of a source written as `target`.
Result<Layout> plan_layout(const ExportRequest& request, Naming target);

// Row `r` of the output, as (out, in), is this row of the source.
int64_t source_row(const OutputTensor& tensor, int64_t r);
// The bytes to store for a tensor that was not quantised: the source's own, or `buffer` filled.
Result<std::span<const std::byte>> stored_bytes(const Model& model, const OutputTensor& tensor,
                                                std::vector<std::byte>& buffer);
// The pages of those bytes in the source's file leave memory.
void drop_source(const Model& model, const OutputTensor& tensor);
// The bytes to store for a quantised tensor; CHECKs that they decode to its values.
void encode_exact(const OutputTensor& tensor, const PressedTensor& pressed,
                  std::vector<std::byte>& buffer);

}  // namespace coldpress
