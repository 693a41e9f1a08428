// The options that `plan`, `quantize` and `bench model` share: one definition, so that a plan is
// always the plan of the command that follows it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "calibration/windows.h"
#include "hessian/imatrix.h"
#include "model/model.h"
#include "pipeline/quantize_model.h"
#include "pipeline/recipe.h"
#include "pipeline/target.h"

namespace coldpress::cli {

struct PressOptions {
  std::string model;
  std::string out;
  std::string imatrix;        // file to use instead of a calibration text; empty: none
  std::string tokenizer_pre;  // empty: what the model says
  uint64_t split_bytes = 0;   // quantize only
  uint64_t shard_bytes = 0;   // likewise
  uint64_t max_ram = 0;       // 0: no ceiling
  std::string work_dir;       // quantize only; empty: beside the output
  int threads = 0;            // 0: all cores
  bool json = false;
  Recipe recipe;
  Target target;
  GivenTypes given;
};

// Adds every option to `verb`; `options` must outlive the parse.
void add_press_options(CLI::App& verb, PressOptions& options);
// --calibration, --seed, --samples and --seqlen alone, which those have too.
void add_calibration_options(CLI::App& verb, PressOptions& options);
// --imatrix, for verbs that have add_press_options' and can do without a text.
void add_imatrix_option(CLI::App& verb, PressOptions& options);
// The file of --imatrix, which must have what the model needs, and the recipe's samples and length
// set to its own; nothing without it.
Result<std::optional<Imatrix>> read_imatrix_option(const Model& model, PressOptions& options);
// The calibration windows that they ask for.
Result<CalibrationWindows> read_windows(const PressOptions& options);

}  // namespace coldpress::cli
