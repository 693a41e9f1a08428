// Options of transforms, low-bit activations and key-value caches, which several verbs have.
#pragma once

#include <CLI/CLI.hpp>

#include "transform/steps.h"

namespace coldpress::cli {

// --transform and --rotation-seed.
void add_transform_options(CLI::App& verb, TransformOptions& options);
// --act-bits, --act-asymmetric, --act-clip, --act-group, --kv-bits, --kv-clip
// and --kv-group.
void add_low_bit_options(CLI::App& verb, TransformOptions& options);

}  // namespace coldpress::cli
