// What a build without MPI says under mpirun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributed/open_comm.h"

namespace coldpress {
namespace {

TEST(NoMpi, RunsAloneAndRefusesToBeOneOfMany) {
  const auto alone = open_comm(1);
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ((*alone)->size(), 1);
  const auto many = open_comm(3);
  ASSERT_FALSE(many.ok());
  EXPECT_EQ(many.status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(many.status().message(), testing::StartsWith("3 processes were started together"));
}

}  // namespace
}  // namespace coldpress
