// Makes an importance matrix (hessian/imatrix.h) of a model: the diagonals of the Grams that its
// unquantised blocks give on calibration windows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "calibration/windows.h"
#include "hessian/imatrix.h"
#include "model/model.h"
#include "parallel/thread_pool.h"

namespace coldpress {

// An entry for every matrix of the blocks that multiplies an activation, routers included, by its
// GGUF name; `progress` is called after each block. The same values for any thread count. A model
// whose tensors have no GGUF names is an error.
Result<Imatrix> collect_imatrix(const Model& model, const CalibrationWindows& windows,
                                const std::function<void(int64_t done, int64_t total)>& progress,
                                ThreadPool& pool);

// The name of a role's tensor in GGUF files; nullopt if it has none.
std::optional<std::string> gguf_tensor_name(const Model& model, const std::string& role, int block);

}  // namespace coldpress
