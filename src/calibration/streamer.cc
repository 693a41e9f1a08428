#include "calibration/streamer.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "calibration/sum_chain.h"
#include "calibration/tap_sizes.h"
#include "linalg/bf16.h"
#include "linalg/blas.h"

namespace coldpress {
namespace {

constexpr int64_t kExpertRows = 512;  // gathered at once for an expert's Gram

int64_t widest_tap(const Model& model) {
  int64_t width = 0;
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) width = std::max(width, tap.width);
  }
  return width;
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
  // Once all threads are done.
  const Status& status() const { return status_; }
  bool is_noted() {
    const std::lock_guard lock(mutex_);
    return !status_.ok();
  }

 private:
  std::mutex mutex_;
  int64_t task_ = 0;
  Status status_;
};

// Lets task i pass only after tasks 0 .. i-1 have. Those that take it in order are as many as there
// are threads, or fewer.
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
  // Waits until `task` has passed.
  void wait_for(int64_t task) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return next_ > task; });
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

void scale(float factor, View2<float> a) {
  if (factor == 1.0F) return;
  for (int64_t i = 0; i < a.rows * a.cols; ++i) a.data[i] *= factor;
}

// Models keep activations a hundred times all others at a window's first token (2402.17762), which
// attention then rests on. In squares that one token outweighs the rest of its window, so how much
// of the drift can be predicted would be a question about it alone. It counts in H, so that a shift
// that makes good the other tokens' drift is one that leaves it where it is.
void leave_out_sink(View2<float> drift) { std::fill_n(drift.data, drift.cols, 0.0F); }

// The Gram of rows that come one by one.
class RowGram {
 public:
  explicit RowGram(int64_t n) : gram_(n), rows_(kExpertRows, n), sum_(n, n) {}

  void add(const float* row) {
    std::memcpy(rows_.row(filled_), row, static_cast<std::size_t>(gram_.n()) * sizeof(float));
    if (++filled_ == kExpertRows) flush();
  }
  Gram take() {
    flush();
    return std::move(gram_);
  }

 private:
  void flush() {
    if (filled_ == 0) return;
    syrk_lower(1.0F, rows_.view().row_range(0, filled_), 0.0F, sum_.view());
    gram_.add(sum_.view(), filled_);
    filled_ = 0;
  }

  Gram gram_;
  MatrixF rows_;
  MatrixF sum_;
  int64_t filled_ = 0;
};

}  // namespace

CalibrationStreamer::CalibrationStreamer(const Model& model, const CalibrationWindows& windows,
                                         ThreadPool& pool, bool follow_source,
                                         const StreamerMemory& memory, Comm* comm)
    : windows_(windows),
      pool_(pool),
      comm_(comm != nullptr ? *comm : alone_),
      memory_(memory),
      hidden_(model.config().hidden),
      residual_scale_(static_cast<float>(model.config().residual_scale)),
      widest_tap_(widest_tap(model)),
      scratch_(static_cast<std::size_t>(pool.threads())) {
  for (int w = 0; w < pool.threads(); ++w) runners_.push_back({StageRunner(model.config()), {}});
  if (!follow_source) return;
  source_.emplace();
  ModelConfig unrounded = model.config();
  unrounded.online.activations = {};
  unrounded.online.kv = {};
  for (int w = 0; w < pool.threads(); ++w) source_runners_.push_back({StageRunner(unrounded), {}});
}

Status CalibrationStreamer::share_windows() {
  if (std::exchange(is_shared_, true)) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const int64_t threads, comm_.least(pool_.threads()));
  share_ = ShardShare(windows_.count(), comm_.rank(), comm_.size(), static_cast<int>(threads));
  return {};
}

Status CalibrationStreamer::create_store(ActivationStore& store) {
  COLDPRESS_RETURN_IF_ERROR(share_windows());
  COLDPRESS_ASSIGN_OR_RETURN(
      store, ActivationStore::create(share_.own_windows(), windows_.length, hidden_, widest_tap_,
                                     memory_.taps, *memory_.activations));
  return {};
}

Status CalibrationStreamer::embed_into(ActivationStore& store, const HeadWeights& head) {
  COLDPRESS_RETURN_IF_ERROR(create_store(store));
  FirstError error;
  pool_.for_each(share_.own_windows(), [&](int64_t w, int worker) {
    error.note(w, runners_[static_cast<std::size_t>(worker)].stage.embed(
                      head, windows_.window(share_.window(w)), store.residual(w)));
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
  const bool is_first = sums.windows++ == 0;
  const View2<const float> rows(scratch.tap.data(), windows_.length * measure.slots, n);
  COLDPRESS_RETURN_IF_ERROR(fit(sums.gram, n, n, *memory_.scratch));
  syrk_lower(1.0F, rows, is_first ? 0.0F : 1.0F, sums.gram.view());
  if (!measure.drift) return {};
  subtract(scratch.tap.view(), scratch.source.view());
  View2<float> drift = scratch.source.view();
  if (const View2<const float> stream_w = measure.stream_w; stream_w.data != nullptr) {
    const View2<float> source = source_->residual(w);
    COLDPRESS_RETURN_IF_ERROR(fit(scratch.stream, source.rows, source.cols));
    std::copy_n(source.data, source.rows * source.cols, scratch.stream.data());
    subtract(store_.residual(w), scratch.stream.view());
    scale(residual_scale_, drift);
    gemm_bf16(Trans::kNo, Trans::kYes, drift, stream_w, true, scratch.stream.view(),
              &scratch.products);
    drift = scratch.stream.view();
  }
  leave_out_sink(drift);
  COLDPRESS_RETURN_IF_ERROR(fit(sums.drift, drift.cols, n, *memory_.scratch));
  // Roundings cancel out over the tokens, and what remains is far below the chance in the drift.
  gemm_bf16(Trans::kYes, Trans::kNo, drift, rows, !is_first, sums.drift.view(), &scratch.products);
  return {};
}

Result<TapSums> CalibrationStreamer::start_sums(const Measure& measure) const {
  const int64_t n = measure.width / measure.slots;
  const Memory& memory = *memory_.sums;
  TapSums sums;
  if (n == 0) return sums;
  const int64_t rows = windows_.length * measure.slots;
  COLDPRESS_ASSIGN_OR_RETURN(sums.gram, Gram::create(n, memory));
  sums.gram.count(windows_.count() * rows);
  if (!measure.drift) return sums;
  sums.drift.is_of_stream = measure.stream_w.data != nullptr;
  COLDPRESS_ASSIGN_OR_RETURN(sums.drift.even, Gram::create(n, memory));
  sums.drift.even.count((windows_.count() + 1) / 2 * rows);
  for (MatrixD& half : sums.drift.halves) {
    COLDPRESS_ASSIGN_OR_RETURN(half,
                               MatrixD::create(sums.drift.is_of_stream ? hidden_ : n, n, memory));
  }
  return sums;
}

Status CalibrationStreamer::merge_turn(std::span<const std::array<ShardSums, 2>* const> turn,
                                       int64_t last, TapSums* sums) {
  std::vector<SumPart> parts = parts_of(sums);
  for (const auto* shard : turn) {
    const auto& [even, odd] = *shard;
    // `part` in the order of parts_of().
    const auto add = [&](std::size_t part, const ShardSums& half, const MatrixF& sum) {
      if (half.windows > 0) parts[part].shards.push_back(sum.view());
    };
    add(0, even, even.gram);
    if (!sums->drift.is_measured()) continue;
    add(0, odd, odd.gram);
    add(1, even, even.gram);
    add(2, even, even.drift);
    add(3, odd, odd.drift);
  }
  const int64_t first = last - std::ssize(turn) + 1;
  const auto neighbour = [&](int64_t shard) {
    if (shard < 0 || shard == share_.shards()) return -1;
    const int rank = share_.rank_of(shard);
    return rank == comm_.rank() ? -1 : rank;
  };
  return add_shards(parts, neighbour(first - 1), neighbour(last + 1), comm_);
}

Result<TapSums> CalibrationStreamer::sum_gram(const Measure& measure, const Fill& fill,
                                              const Fill& fill_source) {
  const int64_t width = measure.width;
  const bool is_summed = width > 0 && is_measuring_;
  TapSums sums;
  if (is_summed) {
    COLDPRESS_ASSIGN_OR_RETURN(sums, start_sums(measure));
  }
  FirstError error;
  Turnstile turnstile;
  std::vector<const std::array<ShardSums, 2>*> turn;  // whoever is in the turnstile has it
  std::vector<StreamTimes> spent(static_cast<std::size_t>(pool_.threads()));
  pool_.for_each(share_.own_shards(), [&](int64_t shard, int worker) {
    const auto at = static_cast<std::size_t>(worker);
    Scratch& s = scratch_[at];
    Status status = fit(s.tap, windows_.length, width);
    if (status.ok() && source_) status = fit(s.source, windows_.length, width);
    for (ShardSums& half : s.sums) half.windows = 0;
    const int64_t first = shard * kWindowsPerShard;
    const int64_t last = std::min(share_.own_windows(), first + kWindowsPerShard);
    for (int64_t w = first; w < last && status.ok(); ++w) {
      const double start = seconds_now();
      const View2<float> none;  // of the last stage, which ends in no tap
      status = fill(runners_[at], w, width > 0 ? s.tap.view() : none);
      if (status.ok() && fill_source) {
        status = fill_source(source_runners_[at], w, width > 0 ? s.source.view() : none);
      }
      const double middle = seconds_now();
      if (status.ok() && is_summed) status = add_window(measure, w, s);
      store_.after(w);
      if (source_) source_->after(w);
      spent[at].forward += middle - start;
      spent[at].gram += seconds_now() - middle;
    }
    error.note(shard, status);
    if (!is_summed) return;
    const double start = seconds_now();
    int64_t end = shard;  // of the turn
    while (!share_.ends_turn(share_.shard(end))) ++end;
    turnstile.in_order(shard, [&] {
      turn.push_back(&s.sums);
      if (shard != end) return;
      // After an error the other ranks hear of it, and wait no longer.
      if (!error.is_noted()) error.note(shard, merge_turn(turn, share_.shard(shard), &sums));
      turn.clear();
    });
    turnstile.wait_for(end);  // the sums are in use until then
    spent[at].gram += seconds_now() - start;
  });
  for (Scratch& s : scratch_) s = {};  // solvers need the room
  for (std::vector<Runner>* runners : {&runners_, &source_runners_}) {
    for (Runner& runner : *runners) runner.previous = {};
  }
  for (const StreamTimes& t : spent) {
    times_.forward += t.forward;
    times_.gram += t.gram;
  }
  if (!error.status().ok()) return error.status();
  return sums;
}

Status CalibrationStreamer::run_window(Runner& runner, const BlockWeights& weights, int block,
                                       int stage, int64_t previous_width, ActivationStore& store,
                                       int64_t w, bool rounded, View2<float> tap) {
  store.before(w + 1, previous_width);
  View2<const float> previous;
  if (previous_width > 0) {
    COLDPRESS_RETURN_IF_ERROR(fit(runner.previous, windows_.length, previous_width));
    store.get_tap(w, runner.previous.view());
    previous = runner.previous.view();
  }
  const View2<float> residual = store.residual(w);
  COLDPRESS_RETURN_IF_ERROR(
      rounded ? runner.stage.run(weights, block, stage, residual, previous, tap)
              : runner.stage.run_unrounded(weights, block, stage, residual, previous, tap));
  if (tap.rows > 0) store.put_tap(w, tap);
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
    measure = measure_of(taps[at_stage], weights);
    routes = taps[at_stage].by_expert && measure.slots == 1 && stage == 2;
  }
  if (routes) routes_.resize(static_cast<std::size_t>(share_.own_windows()));
  const Fill fill = [&](Runner& runner, int64_t w, View2<float> tap) -> Status {
    COLDPRESS_RETURN_IF_ERROR(
        run_window(runner, weights, block, stage, previous_width, store_, w, true, tap));
    if (!routes) return {};
    return runner.stage.route(weights, block, tap, routes_[static_cast<std::size_t>(w)]);
  };
  if (!source_) return sum_gram(measure, fill, {});
  COLDPRESS_CHECK(source != nullptr);
  return sum_gram(measure, fill, [&](Runner& runner, int64_t w, View2<float> tap) {
    return run_window(runner, *source, block, stage, previous_width, *source_, w, true, tap);
  });
}

Result<OpenTap> CalibrationStreamer::open_tap(const BlockWeights& weights,
                                              const BlockWeights* source, int block, int stage,
                                              const std::vector<Tap>& taps) {
  const auto at_stage = static_cast<std::size_t>(stage);
  COLDPRESS_CHECK(taps[at_stage].slots() == 1);
  const int64_t previous_width = stage > 0 ? taps[at_stage - 1].width : 0;
  const Fill fill = [&](Runner& runner, int64_t w, View2<float> tap) {
    return run_window(runner, weights, block, stage, previous_width, store_, w, false, tap);
  };
  Fill fill_source;
  if (source_) {
    fill_source = [&](Runner& runner, int64_t w, View2<float> tap) {
      return run_window(runner, *source, block, stage, previous_width, *source_, w, false, tap);
    };
  }
  COLDPRESS_ASSIGN_OR_RETURN(TapSums sums, sum_gram({taps[at_stage].width}, fill, fill_source));
  if (!is_measuring_) return OpenTap();
  return describe_tap(std::move(sums.gram), windows_, share_, store_, comm_);
}

Result<TapSums> CalibrationStreamer::close_tap(const BlockWeights& weights, int block, int stage,
                                               const std::vector<Tap>& taps,
                                               std::span<const float> scales) {
  const Tap& tap = taps[static_cast<std::size_t>(stage)];
  COLDPRESS_CHECK(static_cast<int64_t>(scales.size()) == tap.width);
  routes_.resize(static_cast<std::size_t>(share_.own_windows()));
  const auto divide = [&](const ActivationStore& store, int64_t w, View2<float> values) {
    store.get_tap(w, values);
    for (int64_t t = 0; t < values.rows; ++t) {
      for (int64_t j = 0; j < tap.width; ++j) values(t, j) /= scales[static_cast<std::size_t>(j)];
    }
  };
  const Fill fill = [&](Runner& runner, int64_t w, View2<float> values) -> Status {
    divide(store_, w, values);
    runner.stage.round_tap(block, stage, values);
    store_.put_tap(w, values);
    if (!tap.by_expert) return {};
    return runner.stage.route(weights, block, values, routes_[static_cast<std::size_t>(w)]);
  };
  Fill fill_source;
  if (source_) {
    fill_source = [&](Runner& /*runner*/, int64_t w, View2<float> values) {
      divide(*source_, w, values);
      source_->put_tap(w, values);
      return Status();
    };
  }
  return sum_gram(measure_of(tap, weights), fill, fill_source);
}

CalibrationStreamer::Measure CalibrationStreamer::measure_of(const Tap& tap,
                                                             const BlockWeights& weights) const {
  Measure measure{tap.width, tap.slots()};  // experts' slots are rows of their own
  measure.drift = source_.has_value() && !tap.by_expert;
  if (measure.drift && tap.adds_to_residual) {
    measure.stream_w = weights.linear(tap.linears.front().role);
  }
  return measure;
}

Result<TapSums> CalibrationStreamer::head_gram(const HeadWeights& head) {
  Measure measure{hidden_};
  measure.drift = source_.has_value();
  const auto norm = [&head](ActivationStore& store) -> Fill {
    return [&](Runner& runner, int64_t w, View2<float> tap) {
      return runner.stage.final_norm(head, store.residual(w), tap);
    };
  };
  return sum_gram(measure, norm(store_), source_ ? norm(*source_) : Fill());
}

void CalibrationStreamer::each_row(const Tap& tap, int64_t expert, int64_t own_shard,
                                   const std::function<void(const float* row)>& row) {
  const int64_t n = tap.width / tap.slots();
  const int64_t first = own_shard * kWindowsPerShard;
  const int64_t last = std::min(share_.own_windows(), first + kWindowsPerShard);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (int64_t w = first; w < last; ++w) {
    const Routes& routes = routes_[static_cast<std::size_t>(w)];
    for (int64_t i = 0; i < windows_.length * routes.used; ++i) {
      if (routes.experts[static_cast<std::size_t>(i)] != expert) continue;
      const int64_t slot = tap.slots() == 1 ? 0 : i % routes.used;
      store_.get_row(w, tap.width, i / routes.used, slot * n, n, values.data());
      row(values.data());
    }
  }
}

Result<std::vector<Gram>> CalibrationStreamer::expert_grams(const Tap& tap, int64_t first,
                                                            std::span<const int> owners) {
  const auto count = static_cast<int64_t>(owners.size());
  const int64_t n = tap.width / tap.slots();
  const auto owns = [&](int64_t i) { return owners[static_cast<std::size_t>(i)] == comm_.rank(); };
  std::vector<std::optional<RowGram>> sums(owners.size());
  std::vector<std::vector<float>> rows(owners.size());  // that go to another rank, or come from one
  std::vector<double> spent(static_cast<std::size_t>(pool_.threads()));
  const auto each_expert = [&](const std::function<void(int64_t i, std::size_t at)>& task) {
    pool_.for_each(count, [&](int64_t i, int worker) {
      const double start = seconds_now();
      task(i, static_cast<std::size_t>(i));
      spent[static_cast<std::size_t>(worker)] += seconds_now() - start;
    });
  };
  for (int64_t shard = 0; shard < share_.shards(); ++shard) {
    const int from = share_.rank_of(shard);
    const bool is_own = from == comm_.rank();
    for (std::size_t i = 0; i < owners.size() && !is_own; ++i) {
      if (owners[i] != comm_.rank()) continue;
      COLDPRESS_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, comm_.receive(from));
      rows[i].resize(bytes.size() / sizeof(float));
      if (!bytes.empty()) std::memcpy(rows[i].data(), bytes.data(), rows[i].size() * sizeof(float));
    }
    each_expert([&](int64_t i, std::size_t at) {
      if (owns(i) && !sums[at]) sums[at].emplace(n);
      if (is_own) {
        each_row(tap, first + i, share_.own_shard(shard), [&](const float* row) {
          if (owns(i)) {
            sums[at]->add(row);
          } else {
            rows[at].insert(rows[at].end(), row, row + n);
          }
        });
      } else if (owns(i)) {
        for (std::size_t r = 0; r < rows[at].size(); r += static_cast<std::size_t>(n)) {
          sums[at]->add(rows[at].data() + r);
        }
      }
    });
    for (std::size_t i = 0; i < owners.size(); ++i) {
      if (is_own && owners[i] != from) {
        COLDPRESS_RETURN_IF_ERROR(comm_.send(owners[i], std::as_bytes(std::span(rows[i]))));
      }
      rows[i].clear();
    }
  }
  std::vector<Gram> grams(owners.size());
  each_expert([&](int64_t i, std::size_t at) {
    if (owns(i)) grams[at] = sums[at] ? sums[at]->take() : Gram(n);
    sums[at].reset();
  });
  for (const double s : spent) times_.gram += s;
  return grams;
}

int64_t CalibrationStreamer::state_bytes() const {
  return (source_ ? 2 : 1) * windows_.count() * windows_.length * hidden_ *
         static_cast<int64_t>(sizeof(float));
}

Status CalibrationStreamer::each_residual(const std::function<Status(View2<float>)>& visit) {
  for (ActivationStore* store : {&store_, source_ ? &*source_ : nullptr}) {
    for (int64_t w = 0; store != nullptr && w < share_.own_windows(); ++w) {
      COLDPRESS_RETURN_IF_ERROR(visit(store->residual(w)));
    }
  }
  return {};
}

Status CalibrationStreamer::save(const WriteBytes& write) {
  return each_residual([&](View2<float> rows) {
    const auto size = static_cast<std::size_t>(rows.rows * rows.cols);
    return write(std::as_bytes(std::span(rows.data, size)));
  });
}

Status CalibrationStreamer::restore(const ReadBytes& read) {
  COLDPRESS_RETURN_IF_ERROR(create_store(store_));
  if (source_) COLDPRESS_RETURN_IF_ERROR(create_store(*source_));
  return each_residual([&](View2<float> rows) {
    const auto size = static_cast<std::size_t>(rows.rows * rows.cols);
    return read(std::as_writable_bytes(std::span(rows.data, size)));
  });
}

StreamerBytes streamer_bytes(const Model& model, const Tap* tap, int64_t windows, int64_t length,
                             int threads, bool follow_source) {
  const auto f32 = static_cast<int64_t>(sizeof(float));
  const auto f64 = static_cast<int64_t>(sizeof(double));
  const int64_t hidden = model.config().hidden;
  const int64_t streams = follow_source ? 2 : 1;
  StreamerBytes bytes;
  bytes.activations = streams * ActivationStore::bytes(windows, length, hidden, widest_tap(model));
  if (tap == nullptr) return bytes;
  const bool drift = follow_source && !tap->by_expert;
  const bool of_stream = drift && tap->adds_to_residual;
  const int64_t n = tap->width / tap->slots();
  const int64_t busy =
      std::min<int64_t>(threads, (windows + kWindowsPerShard - 1) / kWindowsPerShard);
  const int64_t of_half = drift ? (of_stream ? hidden : n) * n : 0;
  const int64_t halves = drift ? std::min<int64_t>(2, windows) : 1;
  bytes.sums = f64 * (drift ? 2 * (n * n + of_half) : n * n);
  bytes.scratch = f32 * busy * halves * (n * n + of_half);
  // With the operands of bf16, two bytes a value.
  const int64_t packed = drift ? (length + std::max(length, hidden)) * n / 2 : 0;
  bytes.windows =
      f32 * busy * (length * (streams * tap->width + (of_stream ? hidden : 0)) + packed);
  return bytes;
}

}  // namespace coldpress
