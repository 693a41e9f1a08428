// A comparison of methods and presets as one HTML page: a table and bars, in inline SVG, that opens
// without a network.
#pragma once

#include <string>

#include "io/json_type.h"

namespace coldpress {

// `matrix`: what `coldpress bench matrix` writes as JSON (apps/coldpress/bench_matrix.cc): model,
// protocol, windows, reference.perplexity, methods, presets, and cells with preset, method,
// perplexity, bits_per_weight and mean_error. Cells may be missing.
std::string matrix_html(const Json& matrix);

}  // namespace coldpress
