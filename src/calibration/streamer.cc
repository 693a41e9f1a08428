#include "calibration/streamer.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "linalg/blas.h"

namespace coldpress {
namespace {

constexpr int64_t kWindowsPerShard = 8;

int64_t widest_tap(const Model& model) {
  int64_t width = 0;
  for (const Tap& tap : model.taps(0)) width = std::max(width, tap.width);
  return width;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The first error in task order is the one reported, whichever thread met it.
class FirstError {
 public:
  void note(int64_t task, Status status) {
    if (status.ok()) return;
    const std::lock_guard lock(mutex_);
    if (status_.ok() || task < task_) {
      task_ = task;
      status_ = std::move(status);
    }
  }
  const Status& status() const { return status_; }

 private:
  std::mutex mutex_;
  int64_t task_ = 0;
  Status status_;
};

// Lets task i pass only after tasks 0 .. i-1 have.
class Turnstile {
 public:
  template <typename F>
  void in_order(int64_t task, F&& f) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return next_ == task; });
    f();
    ++next_;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t next_ = 0;
};

}  // namespace

CalibrationStreamer::CalibrationStreamer(const Model& model, const CalibrationWindows& windows,
                                         ThreadPool& pool)
    : windows_(windows),
      pool_(pool),
      store_(windows.count(), windows.length, model.config().hidden, widest_tap(model)),
      tap_scratch_(static_cast<std::size_t>(pool.threads())),
      gram_scratch_(static_cast<std::size_t>(pool.threads())) {
  for (int w = 0; w < pool.threads(); ++w) runners_.emplace_back(model.config());
}

Status CalibrationStreamer::embed(const HeadWeights& head) {
  FirstError error;
  pool_.for_each(windows_.count(), [&](int64_t w, int worker) {
    error.note(w, runners_[static_cast<std::size_t>(worker)].embed(head, windows_.window(w),
                                                                   store_.residual(w)));
  });
  return error.status();
}

Result<Gram> CalibrationStreamer::run_stage(const BlockWeights& weights, int block, int stage,
                                            int64_t previous_width, int64_t tap_width) {
  Gram gram(tap_width);
  FirstError error;
  Turnstile turnstile;
  std::vector<StreamTimes> spent(static_cast<std::size_t>(pool_.threads()));
  const int64_t shards = (windows_.count() + kWindowsPerShard - 1) / kWindowsPerShard;
  pool_.for_each(shards, [&](int64_t shard, int worker) {
    const auto at = static_cast<std::size_t>(worker);
    MatrixF& tap = tap_scratch_[at];
    MatrixF& sum = gram_scratch_[at];
    if (tap.rows() != windows_.length || tap.cols() != tap_width) {
      tap = MatrixF(windows_.length, tap_width);
      sum = MatrixF(tap_width, tap_width);
    }
    const int64_t first = shard * kWindowsPerShard;
    const int64_t last = std::min(windows_.count(), first + kWindowsPerShard);
    for (int64_t w = first; w < last; ++w) {
      const double start = now();
      const View2<float> previous = store_.tap(w, previous_width);
      const Status status =
          runners_[at].run(weights, block, stage, store_.residual(w),
                           previous_width > 0 ? View2<const float>(previous) : View2<const float>(),
                           tap_width > 0 ? tap.view() : View2<float>());
      error.note(shard, status);
      const double middle = now();
      if (tap_width > 0) {
        std::memcpy(store_.tap(w, tap_width).data, tap.data(),
                    static_cast<std::size_t>(tap.size()) * sizeof(float));
        syrk_lower(1.0F, tap.view(), w == first ? 0.0F : 1.0F, sum.view());
      }
      spent[at].forward += middle - start;
      spent[at].gram += now() - middle;
    }
    const double start = now();
    turnstile.in_order(shard, [&] {
      if (tap_width > 0) gram.add(sum.view(), (last - first) * windows_.length);
    });
    spent[at].gram += now() - start;
  });
  for (const StreamTimes& t : spent) {
    times_.forward += t.forward;
    times_.gram += t.gram;
  }
  if (!error.status().ok()) return error.status();
  return gram;
}

int64_t streamer_bytes(const Model& model, int64_t windows, int64_t length, int threads) {
  const int64_t widest = widest_tap(model);
  return ActivationStore::bytes(windows, length, model.config().hidden, widest) +
         threads * (length * widest + widest * widest) * static_cast<int64_t>(sizeof(float)) +
         widest * widest * static_cast<int64_t>(sizeof(double));
}

}  // namespace coldpress
