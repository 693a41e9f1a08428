// Every window is one rank's, in turns that no rank's memory is too small for.
#include "calibration/shard_share.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace coldpress {
namespace {

TEST(ShardShare, EveryWindowHasOneRank) {
  for (const int64_t windows : {0, 1, 8, 9, 64, 123}) {
    for (const int ranks : {1, 2, 3, 7, 20}) {
      for (const int at_once : {1, 2, 5, 64}) {
        std::set<int64_t> seen;
        for (int rank = 0; rank < ranks; ++rank) {
          const ShardShare share(windows, rank, ranks, at_once);
          int64_t turn = 0;
          for (int64_t s = 0; s < share.own_shards(); ++s) {
            EXPECT_EQ(share.rank_of(share.shard(s)), rank);
            EXPECT_EQ(share.own_shard(share.shard(s)), s);
            turn = share.ends_turn(share.shard(s)) ? 0 : turn + 1;
            EXPECT_LT(turn, at_once);
          }
          EXPECT_EQ(turn, 0);
          for (int64_t w = 0; w < share.own_windows(); ++w) {
            EXPECT_LT(share.window(w), windows);
            EXPECT_EQ(share.window(w) % 2, w % 2);
            EXPECT_TRUE(seen.insert(share.window(w)).second);
          }
        }
        EXPECT_EQ(static_cast<int64_t>(seen.size()), windows);
      }
    }
  }
}

TEST(ShardShare, WithAThreadForEachShardARankHasOneTurn) {
  const ShardShare share(128, 1, 4, 4);
  EXPECT_EQ(share.own_windows(), 32);
  EXPECT_EQ(share.window(0), 32);
  EXPECT_EQ(share.window(31), 63);
  EXPECT_EQ(share.home(), 3);
}

}  // namespace
}  // namespace coldpress
