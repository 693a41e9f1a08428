// A fixed set of worker threads that run independent tasks.
//
// Determinism rule: callers cut work into tasks whose number and content never depend on the thread
// count, and reduce results in task order. Which thread runs a task is the only thing left to
// chance.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace coldpress {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // >= 1; the calling thread is one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Runs task(i, worker) for i in [0, n); worker in [0, threads()) names the running thread, for
  // per-thread scratch. Returns when all are done. Tasks are handed out in increasing order. Not
  // reentrant: a task must not call for_each of the same pool. Tasks must not throw.
  void for_each(int64_t n, const std::function<void(int64_t task, int worker)>& task);

 private:
  struct State;
  int threads_;
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
