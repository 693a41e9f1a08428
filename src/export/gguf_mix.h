// Which GGUF type each tensor of a model gets under one of llama.cpp's mixes ("Q4_K_M", "IQ3_XS",
// ...): the same as llama-quantize of the pinned sources gives it, so that two files of one mix
// have the same size. Decided from names and shapes; not for making the blocks themselves.
//
// Holds for the architectures that coldpress knows; llama.cpp has exceptions for others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "export/layout.h"
#include "model/model.h"

namespace coldpress {

struct Mix {
  std::string_view name;      // as llama-quantize spells it
  uint32_t file_type = 0;     // general.file_type
  int32_t ggml_type = 0;      // of most tensors, and with `pure` of all
  bool is_quantised = false;  // false: F32, F16 and BF16
};

// By name in any case; "Q3_K", "Q4_K" and "Q5_K" are the M mixes. Invalid argument, listing the
// known ones.
Result<Mix> find_mix(std::string_view name);
// Every mix once, under its own name.
std::vector<Mix> all_mixes();

// A tensor whose name contains a match of `pattern` (ECMAScript, any case) gets the type.
struct TensorTypeRule {
  std::string pattern;
  int32_t ggml_type = 0;
};
// "REGEX=TYPE", cut at the last "="; checks both.
Result<TensorTypeRule> parse_tensor_type_rule(const std::string& text);
// A type by ggml's name in any case ("q6_K", "F16"). `what` names the option in errors.
Result<int32_t> parse_tensor_type(std::string_view name, std::string_view what);

struct MixOptions {
  std::string mix;
  bool pure = false;                      // the mix's own type everywhere
  std::vector<TensorTypeRule> overrides;  // the first that matches counts
  std::optional<int32_t> output_type;     // of output.weight (or the tied embeddings, not pure)
  std::optional<int32_t> token_embd_type;
  bool allow_fallback = false;  // where a row does not divide into blocks, llama.cpp's other type
  // Some mixes choose otherwise where measured input is known (llama-quantize --imatrix).
  bool has_imatrix = true;
};

// A tensor as the unquantised GGUF file holds it.
struct MixTensor {
  std::string name;
  std::vector<int64_t> shape;  // row-major
  int32_t ggml_type = 0;
};

// What the choice depends on besides the tensors.
struct MixModel {
  std::string architecture;  // general.architecture
  int64_t blocks = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t experts = 0;
};

struct TensorTypeChoice {
  std::string name;
  std::vector<int64_t> shape;
  int32_t source_type = 0;
  int32_t ggml_type = 0;
  bool is_quantised = false;  // the mix says so; else the tensor keeps what it has
  // The type that the mix asks for, where the shape does not fit it and `ggml_type` is in its
  // place.
  std::optional<int32_t> instead_of;
  uint64_t bytes = 0;
};

// In the order of `tensors`. Where a shape does not fit and allow_fallback is off: an error that
// names tensors and says how many bytes the fallback costs.
Result<std::vector<TensorTypeChoice>> gguf_types(const MixModel& model,
                                                 const std::vector<MixTensor>& tensors,
                                                 const MixOptions& options);
// Of a source as it would be written to GGUF, in the order of that file: of its layout, where the
// caller has it.
Result<std::vector<TensorTypeChoice>> gguf_types(const Model& model, const MixOptions& options);
Result<std::vector<TensorTypeChoice>> gguf_types(const Model& model, const Layout& layout,
                                                 const MixOptions& options);
// How a source would be written to GGUF if nothing were quantised.
Result<Layout> unquantised_gguf_layout(const Model& model);

}  // namespace coldpress
