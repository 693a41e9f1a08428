// The whole of `quantize`, from a path to a path: open, plan, calibrate, press, write, prove. The
// command line and the library (coldpress/quantize.h) are two ways to ask for it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "calibration/windows.h"
#include "distributed/comm.h"
#include "hessian/imatrix.h"
#include "io/json_type.h"
#include "model/model.h"
#include "pipeline/driver.h"
#include "pipeline/recipe.h"
#include "pipeline/target.h"
#include "pipeline/work_folder.h"
#include "transform/transformed_model.h"

namespace coldpress {

// Which types of the recipe the user chose; the others follow from the format.
struct GivenTypes {
  bool dense = false;
  bool scale = false;
};

// Turns a name in Recipe::calibration into the path of a text.
using FindText = std::function<Result<std::filesystem::path>(const std::string&)>;

struct QuantizeJob {
  std::string model;  // Hugging Face folder or .gguf file
  std::string out;    // NAME.gguf, or the name of a folder
  FindText find_text;
  std::string imatrix;        // file of Gram diagonals in place of the texts; empty: none
  std::string tokenizer_pre;  // empty: what the model says
  uint64_t split_bytes = 0;   // GGUF: of tensors per file; 0: one file
  uint64_t shard_bytes = 0;   // folders: per file; 0: the source's shards
  int threads = 1;
  uint64_t max_ram = 0;  // ceiling of anonymous memory; 0: none
  std::string work_dir;  // what does not fit below it is kept here; empty: beside `out`
  std::string version;   // of coldpress
  Recipe recipe;
  GivenTypes given;
  Target target;
  // After every linear; false stops the run, which is then an error. May be empty.
  std::function<bool(const Progress&)> progress;
  // Keeps OUT.work until the output is complete, so that the same job can go on after any end, and
  // goes on from one that is there. None: nothing is kept.
  std::optional<WorkFolderOptions> work = {};
  // Gets one sentence where the run goes on from the work of an earlier one. May be empty.
  std::function<void(const std::string&)> notice = {};
  // The ranks that do it together, each with the same job and the same files in reach; rank 0 alone
  // reads the texts and writes the output and what is kept. Null: this process does it alone.
  Comm* comm = nullptr;
};

// The manifest; in ranks but the first an empty object. On any error nothing is left under the
// final name, and all ranks end with it; it says so where there is work to go on from.
Result<Json> quantize_model(QuantizeJob job);

// The model to press: the source as the recipe transforms it. Keeps a reference to `source`.
Result<std::unique_ptr<TransformedModel>> open_transformed(const Model& source,
                                                           const Recipe& recipe);

// The calibration windows that the recipe asks for, in the tokens of the model at `model`.
Result<CalibrationWindows> read_windows(const std::string& model, const std::string& tokenizer_pre,
                                        const Recipe& recipe, const FindText& find_text);

// The imatrix at `path`, which must have what the model needs, and the recipe's samples and length
// set to its own; nothing if the path is empty.
Result<std::optional<Imatrix>> read_imatrix_for(const Model& model, const std::string& path,
                                                Recipe* recipe);

// A folder of codes keeps the source's own type, unless another was given or its loaders keep
// scales in F16: loaders multiply in that type, so scales have it too.
void settle_code_types(const Model& model, const GivenTypes& given, Recipe* recipe);

}  // namespace coldpress
