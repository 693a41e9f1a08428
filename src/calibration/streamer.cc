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
constexpr int64_t kExpertRows = 512;  // gathered at once for an expert's Gram

int64_t widest_tap(const Model& model) {
  int64_t width = 0;
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) width = std::max(width, tap.width);
  }
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

template <typename Fill>
Result<Gram> CalibrationStreamer::sum_gram(int64_t width, int64_t slots, Fill fill) {
  Gram gram(width / slots);
  FirstError error;
  Turnstile turnstile;
  std::vector<StreamTimes> spent(static_cast<std::size_t>(pool_.threads()));
  const int64_t shards = (windows_.count() + kWindowsPerShard - 1) / kWindowsPerShard;
  pool_.for_each(shards, [&](int64_t shard, int worker) {
    const auto at = static_cast<std::size_t>(worker);
    MatrixF& tap = tap_scratch_[at];
    MatrixF& sum = gram_scratch_[at];
    if (tap.rows() != windows_.length || tap.cols() != width || sum.rows() != gram.n()) {
      tap = MatrixF(windows_.length, width);
      sum = MatrixF(width / slots, width / slots);
    }
    const int64_t first = shard * kWindowsPerShard;
    const int64_t last = std::min(windows_.count(), first + kWindowsPerShard);
    for (int64_t w = first; w < last; ++w) {
      const double start = now();
      error.note(shard, fill(runners_[at], w, width > 0 ? tap.view() : View2<float>()));
      const double middle = now();
      if (width > 0) {
        const View2<const float> rows(tap.data(), windows_.length * slots, gram.n());
        syrk_lower(1.0F, rows, w == first ? 0.0F : 1.0F, sum.view());
      }
      spent[at].forward += middle - start;
      spent[at].gram += now() - middle;
    }
    const double start = now();
    turnstile.in_order(shard, [&] {
      if (width > 0) gram.add(sum.view(), (last - first) * windows_.length * slots);
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

Result<Gram> CalibrationStreamer::run_stage(const BlockWeights& weights, int block, int stage,
                                            const std::vector<Tap>& taps) {
  const auto at_stage = static_cast<std::size_t>(stage);
  const int64_t previous_width = stage > 0 ? taps[at_stage - 1].width : 0;
  const int64_t width = at_stage < taps.size() ? taps[at_stage].width : 0;
  // Experts' slots are rows of their own.
  const int64_t slots = at_stage < taps.size() ? taps[at_stage].slots() : 1;
  const bool routes =
      at_stage < taps.size() && taps[at_stage].by_expert && slots == 1 && stage == 2;
  if (routes) routes_.resize(static_cast<std::size_t>(windows_.count()));
  return sum_gram(width, slots, [&](StageRunner& runner, int64_t w, View2<float> tap) -> Status {
    const View2<float> previous = store_.tap(w, previous_width);
    COLDPRESS_RETURN_IF_ERROR(
        runner.run(weights, block, stage, store_.residual(w),
                   previous_width > 0 ? View2<const float>(previous) : View2<const float>(), tap));
    if (routes) {
      COLDPRESS_RETURN_IF_ERROR(
          runner.route(weights, block, tap, routes_[static_cast<std::size_t>(w)]));
    }
    if (width > 0) {
      std::memcpy(store_.tap(w, width).data, tap.data,
                  static_cast<std::size_t>(tap.rows * tap.cols) * sizeof(float));
    }
    return {};
  });
}

Result<Gram> CalibrationStreamer::head_gram(const HeadWeights& head) {
  return sum_gram(store_.residual(0).cols, 1,
                  [&](StageRunner& runner, int64_t w, View2<float> tap) {
                    return runner.final_norm(head, store_.residual(w), tap);
                  });
}

Gram CalibrationStreamer::expert_gram(const Tap& tap, int64_t expert) {
  const int64_t slots = tap.slots();
  Gram gram(tap.width / slots);
  MatrixF rows(kExpertRows, gram.n());
  MatrixF sum(gram.n(), gram.n());
  int64_t filled = 0;
  const auto flush = [&] {
    if (filled == 0) return;
    syrk_lower(1.0F, rows.view().row_range(0, filled), 0.0F, sum.view());
    gram.add(sum.view(), filled);
    filled = 0;
  };
  for (int64_t w = 0; w < windows_.count(); ++w) {
    const Routes& routes = routes_[static_cast<std::size_t>(w)];
    const View2<float> stored = store_.tap(w, tap.width);
    for (int64_t i = 0; i < windows_.length * routes.used; ++i) {
      if (routes.experts[static_cast<std::size_t>(i)] != expert) continue;
      const int64_t slot = slots == 1 ? 0 : i % routes.used;
      std::memcpy(rows.row(filled), stored.row(i / routes.used) + slot * gram.n(),
                  static_cast<std::size_t>(gram.n()) * sizeof(float));
      if (++filled == kExpertRows) flush();
    }
  }
  flush();
  return gram;
}

std::vector<Gram> CalibrationStreamer::expert_grams(const Tap& tap, int64_t first, int64_t count) {
  std::vector<Gram> grams(static_cast<std::size_t>(count));
  std::vector<double> spent(static_cast<std::size_t>(pool_.threads()));
  pool_.for_each(count, [&](int64_t i, int worker) {
    const double start = now();
    grams[static_cast<std::size_t>(i)] = expert_gram(tap, first + i);
    spent[static_cast<std::size_t>(worker)] += now() - start;
  });
  for (const double s : spent) times_.gram += s;
  return grams;
}

int64_t streamer_bytes(const Model& model, int64_t windows, int64_t length, int threads) {
  const int64_t widest = widest_tap(model);
  return ActivationStore::bytes(windows, length, model.config().hidden, widest) +
         threads * (length * widest + widest * widest) * static_cast<int64_t>(sizeof(float)) +
         widest * widest * static_cast<int64_t>(sizeof(double));
}

}  // namespace coldpress
