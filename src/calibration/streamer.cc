#include "calibration/streamer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "linalg/blas.h"

namespace coldpress {
namespace {

constexpr int64_t kWindowsPerShard = 8;
constexpr int64_t kSampleTokens = 256;
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

Status fit(MatrixF& m, int64_t rows, int64_t cols, const Memory& memory = main_memory()) {
  if (m.rows() == rows && m.cols() == cols) return {};
  COLDPRESS_ASSIGN_OR_RETURN(m, MatrixF::create(rows, cols, memory));
  return {};
}

// b <- b - a.
void subtract(View2<const float> a, View2<float> b) {
  const int64_t count = a.rows * a.cols;
  for (int64_t i = 0; i < count; ++i) b.data[i] -= a.data[i];
}

void add(const MatrixF& shard, MatrixD& sum) {
  const int64_t count = shard.rows() * shard.cols();
  for (int64_t i = 0; i < count; ++i) sum.data()[i] += static_cast<double>(shard.data()[i]);
}

}  // namespace

CalibrationStreamer::CalibrationStreamer(const Model& model, const CalibrationWindows& windows,
                                         ThreadPool& pool, bool follow_source,
                                         const StreamerMemory& memory)
    : windows_(windows),
      pool_(pool),
      memory_(memory),
      hidden_(model.config().hidden),
      widest_tap_(widest_tap(model)),
      scratch_(static_cast<std::size_t>(pool.threads())) {
  for (int w = 0; w < pool.threads(); ++w) runners_.emplace_back(model.config());
  if (!follow_source) return;
  source_.emplace();
  ModelConfig unrounded = model.config();
  unrounded.online.activations = {};
  unrounded.online.kv = {};
  for (int w = 0; w < pool.threads(); ++w) source_runners_.emplace_back(unrounded);
}

Status CalibrationStreamer::embed_into(ActivationStore& store, const HeadWeights& head) {
  COLDPRESS_ASSIGN_OR_RETURN(
      store, ActivationStore::create(windows_.count(), windows_.length, hidden_, widest_tap_,
                                     *memory_.activations));
  FirstError error;
  pool_.for_each(windows_.count(), [&](int64_t w, int worker) {
    error.note(w, runners_[static_cast<std::size_t>(worker)].embed(head, windows_.window(w),
                                                                   store.residual(w)));
  });
  return error.status();
}

Status CalibrationStreamer::embed(const HeadWeights& head) { return embed_into(store_, head); }

Status CalibrationStreamer::embed_source(const HeadWeights& head) {
  return embed_into(*source_, head);
}

Status CalibrationStreamer::add_window(const Measure& measure, int64_t w, Scratch& scratch) {
  const int64_t n = measure.width / measure.slots;
  ShardSums& sums = scratch.sums[measure.drift ? static_cast<std::size_t>(w % 2) : 0];
  const float beta = sums.windows++ == 0 ? 0.0F : 1.0F;
  const View2<const float> rows(scratch.tap.data(), windows_.length * measure.slots, n);
  COLDPRESS_RETURN_IF_ERROR(fit(sums.gram, n, n, *memory_.scratch));
  syrk_lower(1.0F, rows, beta, sums.gram.view());
  if (measure.drift) {
    COLDPRESS_RETURN_IF_ERROR(fit(sums.input, n, n, *memory_.scratch));
    subtract(scratch.tap.view(), scratch.source.view());
    gemm(Trans::kYes, Trans::kNo, 1.0F, scratch.source.view(), rows, beta, sums.input.view());
  }
  if (measure.residual_drift) {
    const View2<float> source = source_->residual(w);
    COLDPRESS_RETURN_IF_ERROR(fit(scratch.residual, source.rows, source.cols));
    COLDPRESS_RETURN_IF_ERROR(fit(sums.residual, source.cols, n, *memory_.scratch));
    std::copy_n(source.data, source.rows * source.cols, scratch.residual.data());
    subtract(store_.residual(w), scratch.residual.view());
    gemm(Trans::kYes, Trans::kNo, 1.0F, scratch.residual.view(), rows, beta, sums.residual.view());
  }
  return {};
}

Result<TapSums> CalibrationStreamer::start_sums(const Measure& measure) const {
  const int64_t n = measure.width / measure.slots;
  const Memory& memory = *memory_.sums;
  TapSums sums;
  if (n == 0) return sums;
  COLDPRESS_ASSIGN_OR_RETURN(sums.gram, Gram::create(n, memory));
  for (DriftHalf& half : sums.drift.halves) {
    if (!measure.drift) break;
    COLDPRESS_ASSIGN_OR_RETURN(half.gram, Gram::create(n, memory));
    COLDPRESS_ASSIGN_OR_RETURN(half.input, MatrixD::create(n, n, memory));
    if (!measure.residual_drift) continue;
    COLDPRESS_ASSIGN_OR_RETURN(half.residual, MatrixD::create(hidden_, n, memory));
  }
  return sums;
}

Result<TapSums> CalibrationStreamer::sum_gram(const Measure& measure, const Fill& fill,
                                              const Fill& fill_source) {
  const int64_t width = measure.width;
  COLDPRESS_ASSIGN_OR_RETURN(TapSums sums, start_sums(measure));
  FirstError error;
  Turnstile turnstile;
  std::vector<StreamTimes> spent(static_cast<std::size_t>(pool_.threads()));
  const int64_t shards = (windows_.count() + kWindowsPerShard - 1) / kWindowsPerShard;
  pool_.for_each(shards, [&](int64_t shard, int worker) {
    const auto at = static_cast<std::size_t>(worker);
    Scratch& s = scratch_[at];
    Status status = fit(s.tap, windows_.length, width);
    if (status.ok() && source_) status = fit(s.source, windows_.length, width);
    for (ShardSums& half : s.sums) half.windows = 0;
    const int64_t first = shard * kWindowsPerShard;
    const int64_t last = std::min(windows_.count(), first + kWindowsPerShard);
    for (int64_t w = first; w < last && status.ok(); ++w) {
      const double start = now();
      const View2<float> none;  // of the last stage, which ends in no tap
      status = fill(runners_[at], w, width > 0 ? s.tap.view() : none);
      if (status.ok() && fill_source) {
        status = fill_source(source_runners_[at], w, width > 0 ? s.source.view() : none);
      }
      const double middle = now();
      if (status.ok() && width > 0) status = add_window(measure, w, s);
      store_.after(w);
      if (source_) source_->after(w);
      spent[at].forward += middle - start;
      spent[at].gram += now() - middle;
    }
    error.note(shard, status);
    const double start = now();
    turnstile.in_order(shard, [&] {
      if (width == 0 || !status.ok()) return;
      for (std::size_t i = 0; i < s.sums.size(); ++i) {
        const ShardSums& half = s.sums[i];
        if (half.windows == 0) continue;
        const int64_t rows = half.windows * windows_.length * measure.slots;
        sums.gram.add(half.gram.view(), rows);
        if (!measure.drift) continue;
        sums.drift.halves[i].gram.add(half.gram.view(), rows);
        add(half.input, sums.drift.halves[i].input);
        if (measure.residual_drift) add(half.residual, sums.drift.halves[i].residual);
      }
    });
    spent[at].gram += now() - start;
  });
  for (Scratch& s : scratch_) s = {};  // solvers need the room
  for (const StreamTimes& t : spent) {
    times_.forward += t.forward;
    times_.gram += t.gram;
  }
  if (!error.status().ok()) return error.status();
  return sums;
}

Status CalibrationStreamer::run_window(StageRunner& runner, const BlockWeights& weights, int block,
                                       int stage, int64_t previous_width, ActivationStore& store,
                                       int64_t w, bool rounded, View2<float> tap) {
  const View2<float> stored = store.tap(w, previous_width);
  store.before(w + 1, previous_width);
  const auto previous = previous_width > 0 ? View2<const float>(stored) : View2<const float>();
  COLDPRESS_RETURN_IF_ERROR(
      rounded ? runner.run(weights, block, stage, store.residual(w), previous, tap)
              : runner.run_unrounded(weights, block, stage, store.residual(w), previous, tap));
  if (tap.rows > 0) {
    std::memcpy(store.tap(w, tap.cols).data, tap.data,
                static_cast<std::size_t>(tap.rows * tap.cols) * sizeof(float));
  }
  return {};
}

Result<TapSums> CalibrationStreamer::run_stage(const BlockWeights& weights,
                                               const BlockWeights* source, int block, int stage,
                                               const std::vector<Tap>& taps) {
  const auto at_stage = static_cast<std::size_t>(stage);
  const int64_t previous_width = stage > 0 ? taps[at_stage - 1].width : 0;
  Measure measure{0};
  bool routes = false;
  if (at_stage < taps.size()) {
    measure = measure_of(taps[at_stage]);
    routes = taps[at_stage].by_expert && measure.slots == 1 && stage == 2;
  }
  if (routes) routes_.resize(static_cast<std::size_t>(windows_.count()));
  const Fill fill = [&](StageRunner& runner, int64_t w, View2<float> tap) -> Status {
    COLDPRESS_RETURN_IF_ERROR(
        run_window(runner, weights, block, stage, previous_width, store_, w, true, tap));
    if (!routes) return {};
    return runner.route(weights, block, tap, routes_[static_cast<std::size_t>(w)]);
  };
  if (!source_) return sum_gram(measure, fill, {});
  COLDPRESS_CHECK(source != nullptr);
  return sum_gram(measure, fill, [&](StageRunner& runner, int64_t w, View2<float> tap) {
    return run_window(runner, *source, block, stage, previous_width, *source_, w, true, tap);
  });
}

OpenTap CalibrationStreamer::describe_tap(Gram gram) {
  const int64_t width = gram.n();
  OpenTap open;
  open.gram = std::move(gram);
  open.max_abs.assign(static_cast<std::size_t>(width), 0.0F);
  std::vector<double> sums(static_cast<std::size_t>(width));
  for (int64_t w = 0; w < windows_.count(); ++w) {
    const View2<float> values = store_.tap(w, width);
    for (int64_t t = 0; t < values.rows; ++t) {
      for (int64_t j = 0; j < width; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const float size = std::fabs(values(t, j));
        open.max_abs[at] = std::max(open.max_abs[at], size);
        sums[at] += size;
      }
    }
  }
  const int64_t tokens = windows_.count() * windows_.length;
  for (const double sum : sums) {
    open.mean_abs.push_back(static_cast<float>(sum / static_cast<double>(tokens)));
  }
  open.sample = MatrixF(std::min(kSampleTokens, tokens), width);
  for (int64_t i = 0; i < open.sample.rows(); ++i) {  // spread evenly, from the middle of each part
    const int64_t token = (2 * i + 1) * tokens / (2 * open.sample.rows());
    std::memcpy(open.sample.row(i),
                store_.tap(token / windows_.length, width).row(token % windows_.length),
                static_cast<std::size_t>(width) * sizeof(float));
  }
  return open;
}

Result<OpenTap> CalibrationStreamer::open_tap(const BlockWeights& weights,
                                              const BlockWeights* source, int block, int stage,
                                              const std::vector<Tap>& taps) {
  const auto at_stage = static_cast<std::size_t>(stage);
  COLDPRESS_CHECK(taps[at_stage].slots() == 1);
  const int64_t previous_width = stage > 0 ? taps[at_stage - 1].width : 0;
  const Fill fill = [&](StageRunner& runner, int64_t w, View2<float> tap) {
    return run_window(runner, weights, block, stage, previous_width, store_, w, false, tap);
  };
  Fill fill_source;
  if (source_) {
    fill_source = [&](StageRunner& runner, int64_t w, View2<float> tap) {
      return run_window(runner, *source, block, stage, previous_width, *source_, w, false, tap);
    };
  }
  COLDPRESS_ASSIGN_OR_RETURN(TapSums sums, sum_gram({taps[at_stage].width}, fill, fill_source));
  return describe_tap(std::move(sums.gram));
}

Result<TapSums> CalibrationStreamer::close_tap(const BlockWeights& weights, int block, int stage,
                                               const std::vector<Tap>& taps,
                                               std::span<const float> scales) {
  const Tap& tap = taps[static_cast<std::size_t>(stage)];
  COLDPRESS_CHECK(static_cast<int64_t>(scales.size()) == tap.width);
  routes_.resize(static_cast<std::size_t>(windows_.count()));
  const auto divide = [&](ActivationStore& store, int64_t w) {
    const View2<float> stored = store.tap(w, tap.width);
    for (int64_t t = 0; t < stored.rows; ++t) {
      for (int64_t j = 0; j < tap.width; ++j) stored(t, j) /= scales[static_cast<std::size_t>(j)];
    }
    return stored;
  };
  const auto copy = [](View2<const float> from, View2<float> to) {
    std::memcpy(to.data, from.data,
                static_cast<std::size_t>(from.rows * from.cols) * sizeof(float));
  };
  const Fill fill = [&](StageRunner& runner, int64_t w, View2<float> values) -> Status {
    const View2<float> stored = divide(store_, w);
    runner.round_tap(block, stage, stored);
    copy(stored, values);
    if (!tap.by_expert) return {};
    return runner.route(weights, block, values, routes_[static_cast<std::size_t>(w)]);
  };
  Fill fill_source;
  if (source_) {
    fill_source = [&](StageRunner& /*runner*/, int64_t w, View2<float> values) {
      copy(divide(*source_, w), values);
      return Status();
    };
  }
  return sum_gram(measure_of(tap), fill, fill_source);
}

CalibrationStreamer::Measure CalibrationStreamer::measure_of(const Tap& tap) const {
  Measure measure{tap.width, tap.slots()};  // experts' slots are rows of their own
  measure.drift = source_.has_value() && !tap.by_expert;
  measure.residual_drift = measure.drift && tap.adds_to_residual;
  return measure;
}

Result<TapSums> CalibrationStreamer::head_gram(const HeadWeights& head) {
  Measure measure{store_.residual(0).cols};
  measure.drift = source_.has_value();
  const auto norm = [&head](ActivationStore& store) -> Fill {
    return [&](StageRunner& runner, int64_t w, View2<float> tap) {
      return runner.final_norm(head, store.residual(w), tap);
    };
  };
  return sum_gram(measure, norm(store_), source_ ? norm(*source_) : Fill());
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

StreamerBytes streamer_bytes(const Model& model, const Tap* tap, int64_t windows, int64_t length,
                             int threads, bool follow_source) {
  const auto f32 = static_cast<int64_t>(sizeof(float));
  const auto f64 = static_cast<int64_t>(sizeof(double));
  const int64_t hidden = model.config().hidden;
  const int64_t streams = follow_source ? 2 : 1;
  StreamerBytes bytes;
  bytes.activations = streams * static_cast<int64_t>(ActivationStore::bytes(windows, length, hidden,
                                                                            widest_tap(model)));
  if (tap == nullptr) return bytes;
  const bool drift = follow_source && !tap->by_expert;
  const bool residual = drift && tap->adds_to_residual;
  const int64_t n = tap->width / tap->slots();
  const int64_t busy =
      std::min<int64_t>(threads, (windows + kWindowsPerShard - 1) / kWindowsPerShard);
  // Of one half, or of all windows where drift is not measured.
  const int64_t sum = n * n + (drift ? n * n : 0) + (residual ? hidden * n : 0);
  const int64_t halves = drift ? std::min<int64_t>(2, windows) : 1;
  bytes.sums = f64 * (drift ? n * n + 2 * sum : sum);
  bytes.scratch = f32 * busy * halves * sum;
  bytes.windows = f32 * busy * length * (streams * tap->width + (residual ? hidden : 0));
  return bytes;
}

}  // namespace coldpress
