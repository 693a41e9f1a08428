// The whole of `quantize`, from a path to a path: open, plan, calibrate, press, write, prove. The
// command line and the library (coldpress/quantize.h) are two ways to ask for it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "hessian/imatrix.h"
#include "io/json.h"
#include "model/model.h"
#include "pipeline/driver.h"
#include "pipeline/recipe.h"
#include "pipeline/target.h"

namespace coldpress {

// Which types of the recipe the user chose; the others follow from the format.
struct GivenTypes {
  bool dense = false;
  bool scale = false;
};

struct QuantizeJob {
  std::string model;        // Hugging Face folder or .gguf file
  std::string out;          // NAME.gguf, or the name of a folder
  std::string calibration;  // as parse_calibration_sources (calibration/sources.h) reads it
  // Turns a name in `calibration` into the path of a text.
  std::function<Result<std::filesystem::path>(const std::string&)> find_text;
  std::string imatrix;           // file of Gram diagonals in place of `calibration`; empty: none
  std::optional<uint64_t> seed;  // of the choice of windows; none: the first ones
  std::string tokenizer_pre;     // empty: what the model says
  uint64_t split_bytes = 0;      // GGUF: of tensors per file; 0: one file
  uint64_t shard_bytes = 0;      // folders: per file; 0: the source's shards
  int threads = 1;
  std::string version;  // of coldpress
  Recipe recipe;
  GivenTypes given;
  Target target;
  // After every linear; false stops the run, which is then an error. May be empty.
  std::function<bool(const Progress&)> progress;
};

// The manifest. On any error nothing is left under the final name.
Result<Json> quantize_model(QuantizeJob job);

// The imatrix at `path`, which must have what the model needs, and the recipe's samples and length
// set to its own; nothing if the path is empty.
Result<std::optional<Imatrix>> read_imatrix_for(const Model& model, const std::string& path,
                                                Recipe* recipe);

// A folder of codes keeps the source's own type, unless another was given or its loaders keep
// scales in F16: loaders multiply in that type, so scales have it too.
void settle_code_types(const Model& model, const GivenTypes& given, Recipe* recipe);

}  // namespace coldpress
