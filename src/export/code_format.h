// Formats for folders that store a linear as codes, scales and zero points beside each other, as
// runtimes for quantised models load it: what one such format can express, the tensors that it
// makes of a linear, and what config.json says of them. One file each in formats/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "base/view.h"
#include "grid/grid.h"
#include "io/json_type.h"

namespace coldpress {

// One stored tensor of a linear.
struct CodedPart {
  enum class Holds { kCodes, kScales, kZeros, kShape, kOrder };
  std::string name;
  Holds holds = Holds::kCodes;
  DType dtype = DType::kI32;
  std::vector<int64_t> shape;

  uint64_t bytes() const;
};

// What config.json says besides the grid.
struct CodedModel {
  std::vector<std::string> dense;  // modules with a matrix that stays as it is
  bool head_is_coded = false;
  std::string version;  // of coldpress
};

struct CodeFormat {
  // Refuses grids that the format does not hold, naming the nearest that it does. Called with
  // affine grids only.
  Status (*check)(const GridOptions& grid);
  // Refuses matrices of a size that the format does not hold; nullptr: it holds any.
  Status (*check_size)(const GridOptions& grid, int64_t rows, int64_t cols);
  // The type by which the reader of such folders (model/packed_form.h) calls the weight.
  std::string (*stored_type)(const GridOptions& grid, int64_t cols);
  // The tensors that make the linear `module` (its weight's name without ".weight").
  std::vector<CodedPart> (*parts)(const GridOptions& grid, const std::string& module, int64_t rows,
                                  int64_t cols);
  // Their bytes, in that order.
  std::vector<std::vector<std::byte>> (*pack)(const GridOptions& options, const QuantGrid& grid,
                                              View2<const uint8_t> codes);
  // Whether loaders read stored zeros, those of `rows` outputs, as the grid's; nullptr: always.
  bool (*good_zeros)(const GridOptions& grid, int64_t rows, std::span<const std::byte> zeros);
  // Its loaders keep scales in F16, whatever the model's type.
  bool keeps_f16 = false;
  // "quantization_config" of config.json.
  Json (*settings)(const GridOptions& grid, const CodedModel& model);
};

// Refuses what no format for codes holds, then what this one does not: grids other than integers,
// scales of another type than the one in which loaders multiply (`dense_type`).
Status check_codes(std::string_view name, const CodeFormat& format, const GridOptions& grid,
                   DType dense_type);
Status check_codes_size(const CodeFormat& format, const GridOptions& grid, int64_t rows,
                        int64_t cols);

// A weight's name without ".weight".
std::string module_of(std::string_view tensor);

// What formats share.
int64_t words_of(int64_t codes, int bits);  // 32-bit words of so many codes without gaps
std::string grid_suffix(const GridOptions& grid, int64_t cols);  // "channel" or "g128"
int64_t groups_of(const GridOptions& grid, int64_t cols);        // of a row
// "quantization_config" of the compressed-tensors package for one scheme of all coded linears.
Json compressed_tensors_settings(const char* format, const GridOptions& grid,
                                 const Json& activations, const CodedModel& model);
std::vector<std::byte> encode_scales(DType type, const MatrixF& scales, bool transposed);

}  // namespace coldpress
