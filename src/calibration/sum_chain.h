// Sums of a tap on their way through the ranks: the running sum goes from turn to turn
// (calibration/shard_share.h), each adds its shards, and whoever solves the tap's linears gets the
// complete one. A stretch of rows at a time, so that all ranks work at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "calibration/gram_source.h"
#include "distributed/comm.h"

namespace coldpress {

// One matrix of a tap's sums.
struct SumPart {
  View2<double> total;
  bool is_lower = false;                        // only the lower triangle counts
  std::vector<View2<const float>> shards = {};  // to be added, in this order
};

// The matrices of the sums: the Gram; then, where drift is measured, the even windows' Gram and the
// drift of both halves. Without shards.
std::vector<SumPart> parts_of(TapSums* sums);

// total <- what rank `before` passes on, plus the shards; passed on to rank `after`. -1: no such
// rank.
Status add_shards(std::span<const SumPart> parts, int before, int after, Comm& comm);

// Copies the sums of rank `home` to the ranks in `owners`, which have matrices of the same shapes.
// To be called by all ranks. A `home` of kEveryRank: nothing to do.
Status give_sums(int home, std::span<const int> owners, TapSums* sums, Comm& comm);

}  // namespace coldpress
