// Weights that a Hugging Face folder stores quantised. Each stored form is one file in packed/,
// chosen by "quant_method" in config.json's "quantization_config". A form recognises the tensors
// that belong together (codes, scales, zero points, ...) and turns them into one logical weight,
// which is decoded when it is loaded.
//
// Not for GGUF's block types: one tensor holds all of such a weight (io/ggml_codec.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "io/json_type.h"

namespace coldpress {

// A tensor as a shard holds it. The container's reader has checked its bytes against its shape.
struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

// All tensors of a source, by name. Borrowed: they must outlive it.
class StoredTensors {
 public:
  StoredTensors(std::span<const StoredTensor> tensors, std::string where);
  const StoredTensor* find(const std::string& name) const;  // nullptr when absent
  std::span<const StoredTensor> all() const { return tensors_; }
  // "FOLDER: tensor 'NAME'", the start of every error.
  std::string what(const std::string& name) const;

 private:
  std::span<const StoredTensor> tensors_;
  std::unordered_map<std::string, const StoredTensor*> by_name_;
  std::string where_;
};

// The weight of a linear, (rows, cols) = (out, in).
struct PackedWeight {
  std::string name;  // "X.weight", whatever its parts are called
  std::string type;  // names the stored form: "FP8 128x128", "INT4 g128", ...
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<std::string> parts;  // the stored tensors that it is made of; the first has the codes
  // Fills rows * cols values, row by row, from the parts' bytes, which must outlive it. Indices
  // among the bytes are checked here; values may come out as NaN.
  std::function<Status(std::span<float> out)> decode;
};

// One form with the settings of one model.
class PackedReader {
 public:
  virtual ~PackedReader() = default;
  // The weight whose codes are in `codes`; nullopt if that is a tensor of another kind. Types and
  // shapes of all its parts are checked.
  virtual Result<std::optional<PackedWeight>> read(const StoredTensor& codes,
                                                   const StoredTensors& all) const = 0;
};

struct PackedForm {
  std::string_view quant_method;
  // `settings` is the object "quantization_config"; `where` starts every error.
  Result<std::unique_ptr<PackedReader>> (*open)(const Json& settings, const std::string& where);
};

// Generated from packed/*.cc.
std::span<const PackedForm* const> packed_table();

}  // namespace coldpress
