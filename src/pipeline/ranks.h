// What ranks that do one run together tell each other before it and after it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "calibration/windows.h"
#include "distributed/comm.h"
#include "io/json_type.h"
#include "pipeline/run_journal.h"

namespace coldpress {

// What must be the same for all ranks: names, and what each is here.
using RunFacts = std::vector<std::pair<std::string, std::string>>;
// An error in a rank where one is not as it is in rank 0.
Status check_same_run(const RunFacts& facts, Comm& comm);

// Rank 0's windows, in every rank.
Status share_windows(CalibrationWindows* windows, Comm& comm);

// Rank 0's, in every rank.
Status share_known(KnownWork* known, Comm& comm);

// What each rank sent, received and waited for, by rank; in rank 0, the others get an empty list.
Result<Json> gather_traffic(Comm& comm);

}  // namespace coldpress
