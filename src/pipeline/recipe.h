// What the user asked for, before any model is looked at.
#pragma once

#include <cstdint>
#include <string>

#include "base/dtype.h"
#include "base/status.h"
#include "export/gguf_mix.h"
#include "grid/grid.h"
#include "io/json.h"
#include "solver/solver.h"

namespace coldpress {

struct Recipe {
  std::string method = "admm-q";
  std::string init;  // method whose result `method` starts from; empty: its own start
  GridOptions grid;
  MixOptions types;  // GGUF types instead of `grid`, where types.mix is not empty
  // Folders whose linears are codes on `grid`: the format's name (export/table.h). Empty: dense.
  std::string code_format;
  bool quantise_head = false;  // on `grid` too; a mix of GGUF types has its own say
  SolverOptions solver;
  // Linears make good what they can of the errors before them (pipeline/propagation.h), for a
  // second forward pass.
  bool propagate = false;
  int64_t samples = 128;  // calibration windows
  int64_t seqlen = 512;   // tokens per window
  // Type that the dequantised weights are stored in. Values are rounded to it before they are
  // propagated, so the file holds exactly what the later layers were calibrated on.
  DType dense_type = DType::kF16;
};

Json recipe_to_json(const Recipe& recipe);

}  // namespace coldpress
