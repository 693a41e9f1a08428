// Which rank runs which calibration windows. Windows are grouped in shards of fixed size: a shard's
// Gram is an fp32 sum, merged in fp64 in shard order, so that sums do not depend on who ran what.
//
// Ranks take turns: a turn is as many shards in a row as a rank can hold the sums of at once, and a
// running sum goes from turn to turn. So a rank needs no more memory for sums than one that runs
// alone, and where it has a thread for each of its shards it has one turn.
#pragma once

#include <algorithm>
#include <cstdint>

namespace coldpress {

// Even, so that a window's parity (hessian/drift.h) is that of its place among a rank's windows.
inline constexpr int64_t kWindowsPerShard = 8;
static_assert(kWindowsPerShard % 2 == 0);

class ShardShare {
 public:
  ShardShare() = default;  // of no window
  // Of `rank`. `at_once`: shards that a rank can hold the sums of, the same number for all ranks.
  ShardShare(int64_t windows, int rank, int ranks, int at_once)
      : shards_(ceil_div(windows, kWindowsPerShard)), rank_(rank), ranks_(ranks) {
    if (ranks > 1 && shards_ > 0) {
      const int64_t rounds = ceil_div(shards_, int64_t{ranks} * at_once);
      turn_ = ceil_div(shards_, rounds * ranks);
    }
    for (int64_t s = 0; s < shards_; ++s) own_shards_ += rank_of(s) == rank ? 1 : 0;
    own_windows_ = own_shards_ * kWindowsPerShard;
    if (home() == rank) own_windows_ -= shards_ * kWindowsPerShard - windows;  // of the last shard
  }

  // Of all ranks.
  int64_t shards() const { return shards_; }
  int rank_of(int64_t shard) const { return static_cast<int>(shard / turn_ % ranks_); }
  // Whether the next shard is of another turn.
  bool ends_turn(int64_t shard) const { return shard + 1 == shards_ || (shard + 1) % turn_ == 0; }
  // The rank of the last shard, where sums are complete.
  int home() const { return shards_ == 0 ? 0 : rank_of(shards_ - 1); }

  // Of this rank, numbered without gaps: its windows and shards, and what their numbers are among
  // those of all ranks.
  int64_t own_shards() const { return own_shards_; }
  int64_t own_windows() const { return own_windows_; }
  int64_t shard(int64_t own) const { return (own / turn_ * ranks_ + rank_) * turn_ + own % turn_; }
  int64_t window(int64_t own) const {
    return shard(own / kWindowsPerShard) * kWindowsPerShard + own % kWindowsPerShard;
  }
  // What shard() made of it.
  int64_t own_shard(int64_t shard) const { return shard / turn_ / ranks_ * turn_ + shard % turn_; }

 private:
  static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

  int64_t shards_ = 0;
  int64_t turn_ = 1;  // shards
  int rank_ = 0;
  int ranks_ = 1;
  int64_t own_shards_ = 0;
  int64_t own_windows_ = 0;
};

}  // namespace coldpress
