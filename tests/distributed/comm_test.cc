// Messages between ranks: whole, in order, the same everywhere; and no rank waits for one that is
// gone.
#include "distributed/comm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "base/rng.h"
#include "tests/distributed/thread_comm.h"

namespace coldpress {
namespace {

std::vector<std::byte> random_bytes(std::size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.below(256));
  return bytes;
}

// Around the limits of a packet, which is 1 MiB with a header of 8 bytes.
const std::size_t kSizes[] = {0, 1, 1000, (1 << 20) - 9, (1 << 20) - 8, (1 << 20) - 7, 3000000};

void expect_all_ok(const std::vector<Status>& results) {
  for (const Status& status : results) EXPECT_TRUE(status.ok()) << status.message();
}

TEST(Comm, MessagesArriveWholeAndInOrder) {
  test::ThreadRanks ranks(2);
  expect_all_ok(ranks.run([](Comm& comm) -> Status {
    for (std::size_t k = 0; k < std::size(kSizes); ++k) {
      const std::vector<std::byte> wanted = random_bytes(kSizes[k], k);
      if (comm.rank() == 0) {
        COLDPRESS_RETURN_IF_ERROR(comm.send(1, wanted));
      } else {
        COLDPRESS_ASSIGN_OR_RETURN(const auto got, comm.receive(0));
        EXPECT_EQ(got, wanted) << kSizes[k];
      }
    }
    const int64_t total =
        comm.rank() == 0 ? comm.traffic().sent_bytes : comm.traffic().received_bytes;
    EXPECT_EQ(total, 1 + 1000 + 3 * (1 << 20) - 24 + 3000000);
    return {};
  }));
}

TEST(Comm, ABroadcastReachesEveryRankFromAnyRoot) {
  for (const int size : {1, 2, 3, 5}) {
    test::ThreadRanks ranks(size);
    expect_all_ok(ranks.run([](Comm& comm) -> Status {
      for (int root = 0; root < comm.size(); ++root) {
        for (std::size_t k = 0; k < std::size(kSizes); ++k) {
          const std::vector<std::byte> wanted = random_bytes(kSizes[k], k);
          std::vector<std::byte> bytes = comm.rank() == root ? wanted : std::vector<std::byte>(7);
          COLDPRESS_RETURN_IF_ERROR(comm.broadcast(root, &bytes));
          EXPECT_EQ(bytes, wanted) << root << " " << kSizes[k];
        }
      }
      return comm.barrier();
    }));
  }
}

TEST(Comm, TheLeastIsKnownToAll) {
  for (int least = 0; least < 4; ++least) {
    test::ThreadRanks ranks(4);
    expect_all_ok(ranks.run([&](Comm& comm) -> Status {
      COLDPRESS_ASSIGN_OR_RETURN(const int64_t got, comm.least(comm.rank() == least ? -3 : 5));
      EXPECT_EQ(got, -3);
      return {};
    }));
  }
}

TEST(Comm, ARankThatGivesUpEndsTheOthersWithItsReason) {
  test::ThreadRanks ranks(3);
  const std::vector<Status> results = ranks.run([](Comm& comm) -> Status {
    if (comm.rank() == 1) return invalid_argument("the disk is full");
    if (comm.rank() == 0) return comm.receive(2).status();  // which waits too
    return comm.barrier();
  });
  EXPECT_EQ(results[1].message(), "the disk is full");
  for (const std::size_t r : {0, 2}) {
    EXPECT_EQ(results[r].message(), "rank 1 of 3: the disk is full");
    EXPECT_EQ(results[r].code(), StatusCode::kInvalidArgument);
  }
}

TEST(Comm, WhicheverMessageFailsEveryRankEnds) {
  const auto work = [](Comm& comm) -> Status {
    std::vector<std::byte> bytes(3000);
    COLDPRESS_RETURN_IF_ERROR(comm.broadcast(1, &bytes));
    COLDPRESS_RETURN_IF_ERROR(comm.barrier());
    return comm.broadcast(0, &bytes);
  };
  test::ThreadRanks whole(3);
  expect_all_ok(whole.run(work));
  for (int64_t n = 0; n < whole.packets(); ++n) {
    test::ThreadRanks ranks(3, n);
    int failed = 0;
    for (const Status& status : ranks.run(work)) {
      if (status.ok()) continue;
      ++failed;
      EXPECT_THAT(status.message(), testing::HasSubstr("made to fail"));
    }
    // A rank that has sent and received its last message may have ended well.
    EXPECT_GE(failed, 1) << n;
  }
}

}  // namespace
}  // namespace coldpress
