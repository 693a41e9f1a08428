// By which method weights are pressed, and to which values: the options that the command line has
// under the same names. Names and ranges are checked by the function that takes the options.
#pragma once

#include <cstdint>
#include <string>

namespace coldpress {

struct MethodOptions {
  std::string method = "admm-q";  // rtn, gptq, quantease, admm-q; gptq-outliers, quantease-outliers
  int bits = 4;                   // 2..8
  int64_t group = 0;              // consecutive weights that share a scale; 0: a whole row
  int effort = 3;                 // admm-q: 1 (fast) to 5 (best)
  std::string init = {};  // quantease: method whose result it starts from; empty: the weights
  int refit = 0;          // rtn, gptq, quantease: most rounds of scale refit after the method
  double outliers = 0;    // ...-outliers: fraction kept beside the grid, to 0.5
  std::string outlier_mode = "unstructured";  // or "columns"
  std::string grid = "affine";                // or a table of levels: nf4, fp4
  std::string clip = "hessian";               // or "none": ranges are minimum to maximum
  std::string scale_type = {};  // what scales are rounded to: f16, bf16 or f32; empty: f16
  bool symmetric = false;       // fix the zero at the middle code
};

}  // namespace coldpress
