// The manifest: what happened to every tensor, in JSON, truthfully.
#pragma once

#include <cstdint>
#include <string>

#include "io/json_type.h"
#include "pipeline/driver.h"

namespace coldpress {

// What only the application knows.
struct RunEnvironment {
  std::string version;  // of coldpress
  int threads = 1;
  int64_t peak_rss_bytes = 0;
  double wall_seconds = 0;           // of the whole command, so far
  int64_t peak_anonymous_bytes = 0;  // 0: not looked at
};

// What every manifest says of the source.
Json source_to_json(const Model& model);

Json make_manifest(const Model& model, const Plan& plan, const CalibrationWindows& windows,
                   const RunReport& report, const RunEnvironment& environment);

// The part of a manifest that the plan alone decides: no times, no memory, no thread count, no
// paths; and no rows of tensors, which would make it long. This goes inside output files, so that
// the same plan gives the same bytes.
Json reproducible_part(Json manifest);

}  // namespace coldpress
