// What a rotation of the residual stream should make flat.
#pragma once

#include "base/status.h"
#include "base/view.h"
#include "calibration/windows.h"
#include "model/model.h"
#include "parallel/thread_pool.h"

namespace coldpress {

// (vectors, hidden), none zero: the residual stream of some tokens before each norm of each block,
// and some rows of the matrices that read the norm, with its gain in them. Runs a few windows
// through the model as it is; one block's weights are in memory at a time. The same for any pool.
Result<MatrixF> sample_residual(const Model& model, const CalibrationWindows& windows,
                                ThreadPool& pool);

}  // namespace coldpress
