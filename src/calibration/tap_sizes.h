// What transforms that scale a tap want to know of it beside its Gram: how large its channels are,
// and some of its rows. Of the windows of all ranks.
#pragma once

#include "base/status.h"
#include "calibration/activation_store.h"
#include "calibration/gram_source.h"
#include "calibration/shard_share.h"
#include "calibration/windows.h"
#include "distributed/comm.h"

namespace coldpress {

// Of the tap in `store`, which holds this rank's windows. Complete in the rank share.home(); the
// others get vectors of the same lengths.
Result<OpenTap> describe_tap(Gram gram, const CalibrationWindows& windows, const ShardShare& share,
                             const ActivationStore& store, Comm& comm);

}  // namespace coldpress
