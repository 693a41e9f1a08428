// quantize's work, for verbs that press a model on their way to something else.
#pragma once

#include "base/status.h"
#include "distributed/comm.h"
#include "io/json_type.h"
#include "press_options.h"

namespace coldpress::cli {

// Presses options.model to options.out; the manifest that goes with it. `comm`: as in QuantizeJob.
Result<Json> press_to_file(const PressOptions& options, Comm* comm = nullptr);

}  // namespace coldpress::cli
