// The manifest of a conversion: a rewrite of the source that quantises nothing.
#pragma once

#include "base/dtype.h"
#include "io/json_type.h"
#include "model/model.h"
#include "pipeline/manifest.h"

namespace coldpress {

// Rows for every tensor of the source, to be completed by record_output (report/record.h).
Json make_conversion_manifest(const Model& model, DType dense_type, bool all_dense,
                              const RunEnvironment& environment);

// What a conversion stores weights as unless it is told: the type that most of the source's matrix
// elements have, and F16 for quantised ones.
DType natural_dense_type(const Model& model);

}  // namespace coldpress
