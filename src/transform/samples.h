// What learned rotations should make flat.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "calibration/windows.h"
#include "model/model.h"
#include "parallel/thread_pool.h"

namespace coldpress {

// Vectors, of which none is zero, one a row.
struct Samples {
  // (vectors, hidden): the residual stream of some tokens before each norm of each block, and some
  // rows of the matrices that read the norm, with its gain in them.
  MatrixF residual;
  // Per block and value head, (vectors, head_dim): the values of some tokens, and of some rows of
  // the matrix that reads the head what meets it.
  std::vector<std::vector<MatrixF>> values;
};

// Runs a few windows through the model as it is; one block's weights are in memory at a time. The
// same for any pool.
Result<Samples> sample_model(const Model& model, const CalibrationWindows& windows,
                             ThreadPool& pool);

// What that holds at most of `windows` windows of `length` tokens.
struct SampleBytes {
  int64_t sampling = 0;  // beside one block's weights and what its stages need
  int64_t learning = 0;  // from the samples, then
};
SampleBytes sample_bytes(const ModelConfig& config, int64_t windows, int64_t length);

}  // namespace coldpress
