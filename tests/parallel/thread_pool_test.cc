#include "parallel/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <vector>

namespace coldpress {
namespace {

class PoolTest : public ::testing::TestWithParam<int> {};

TEST_P(PoolTest, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  for (const int64_t n : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> ran(static_cast<std::size_t>(n));
    pool.for_each(n, [&](int64_t i, int /*worker*/) { ran[static_cast<std::size_t>(i)]++; });
    for (const auto& r : ran) ASSERT_EQ(r.load(), 1);
  }
}

TEST_P(PoolTest, WorkerNamesAreExclusive) {
  const int threads = GetParam();
  ThreadPool pool(threads);
  ASSERT_EQ(pool.threads(), threads);
  std::vector<std::atomic<int>> busy(static_cast<std::size_t>(threads));
  std::atomic<bool> shared{false};
  pool.for_each(2000, [&](int64_t /*i*/, int worker) {
    if (worker < 0 || worker >= threads) {
      shared = true;
      return;
    }
    auto& mine = busy[static_cast<std::size_t>(worker)];
    if (mine.fetch_add(1) != 0) shared = true;
    mine.fetch_sub(1);
  });
  EXPECT_FALSE(shared.load());
}

TEST_P(PoolTest, EachWorkerSeesIncreasingTasks) {
  ThreadPool pool(GetParam());
  std::vector<std::vector<int64_t>> seen(static_cast<std::size_t>(GetParam()));
  pool.for_each(5000, [&](int64_t i, int w) { seen[static_cast<std::size_t>(w)].push_back(i); });
  for (const auto& tasks : seen) {
    for (std::size_t k = 1; k < tasks.size(); ++k) ASSERT_LT(tasks[k - 1], tasks[k]);
  }
}

TEST_P(PoolTest, SumsReducedInTaskOrderDoNotDependOnThreads) {
  const auto sum_with = [](int threads) {
    ThreadPool pool(threads);
    std::vector<float> parts(64);
    pool.for_each(64, [&](int64_t i, int /*worker*/) {
      float s = 0;
      for (int k = 1; k < 500; ++k) s += 1.0F / static_cast<float>(i * 500 + k);
      parts[static_cast<std::size_t>(i)] = s;
    });
    return std::accumulate(parts.begin(), parts.end(), 0.0F);
  };
  EXPECT_EQ(sum_with(1), sum_with(GetParam()));
}

TEST_P(PoolTest, SurvivesManySmallJobs) {
  ThreadPool pool(GetParam());
  std::atomic<int64_t> total{0};
  for (int job = 0; job < 2000; ++job) {
    pool.for_each(3, [&](int64_t i, int /*worker*/) { total += i; });
  }
  EXPECT_EQ(total.load(), 2000 * 3);
}

INSTANTIATE_TEST_SUITE_P(Threads, PoolTest, ::testing::Values(1, 2, 5));

TEST(ThreadPool, OneThreadRunsInOrderOnTheCaller) {
  ThreadPool pool(1);
  std::vector<int64_t> order;
  pool.for_each(5, [&](int64_t i, int /*worker*/) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace coldpress
