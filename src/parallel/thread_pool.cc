#include "parallel/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace coldpress {

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  const std::function<void(int64_t, int)>* task = nullptr;
  int64_t n = 0;
  std::atomic<int64_t> next{0};
  int running = 0;          // workers that have not finished the current job
  uint64_t generation = 0;  // of the current job
  bool stop = false;
  std::vector<std::thread> workers;

  void drain(const std::function<void(int64_t, int)>& f, int64_t count, int worker) {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) f(i, worker);
  }

  void work(int worker) {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stop || generation != seen; });
      if (stop) return;
      seen = generation;
      const auto* f = task;
      const int64_t count = n;
      lock.unlock();
      drain(*f, count, worker);
      lock.lock();
      if (--running == 0) done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads), state_(std::make_unique<State>()) {
  COLDPRESS_CHECK(threads >= 1);
  for (int w = 1; w < threads; ++w) {
    state_->workers.emplace_back([s = state_.get(), w] { s->work(w); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& t : state_->workers) t.join();
}

void ThreadPool::for_each(int64_t n, const std::function<void(int64_t, int)>& task) {
  if (n <= 0) return;
  State& s = *state_;
  if (threads_ == 1 || n == 1) {
    for (int64_t i = 0; i < n; ++i) task(i, 0);
    return;
  }
  {
    std::lock_guard lock(s.mutex);
    s.task = &task;
    s.n = n;
    s.next.store(0);
    s.running = threads_ - 1;
    ++s.generation;
  }
  s.wake.notify_all();
  s.drain(task, n, 0);
  std::unique_lock lock(s.mutex);
  s.done.wait(lock, [&] { return s.running == 0; });
}

}  // namespace coldpress
