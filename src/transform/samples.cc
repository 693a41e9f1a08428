#include "transform/samples.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "model/sites.h"

namespace coldpress {
namespace {

constexpr int64_t kWindows = 8;
constexpr int64_t kTokens = 12;  // of a window, at each norm
constexpr int64_t kRows = 48;    // of the matrices that read a norm, in each block

// Rows that are not zero, one after the other.
class Vectors {
 public:
  explicit Vectors(int64_t n) : n_(n) {}
  void add(const float* row, const float* gains) {
    const std::size_t before = values_.size();
    bool is_zero = true;
    for (int64_t j = 0; j < n_; ++j) {
      values_.push_back(gains == nullptr ? row[j] : row[j] * gains[j]);
      is_zero = is_zero && values_.back() == 0.0F;
    }
    if (is_zero) values_.resize(before);
  }
  // Evenly spread rows of (rows, n).
  void add_some(View2<const float> rows, int64_t count, const float* gains) {
    count = std::min(count, rows.rows);
    for (int64_t i = 0; i < count; ++i) {
      add(rows.row((2 * i + 1) * rows.rows / (2 * count)), gains);
    }
  }
  void append(const Vectors& other) {
    values_.insert(values_.end(), other.values_.begin(), other.values_.end());
  }
  MatrixF matrix() const {
    MatrixF m(static_cast<int64_t>(values_.size()) / n_, n_);
    std::copy(values_.begin(), values_.end(), m.data());
    return m;
  }

 private:
  int64_t n_;
  std::vector<float> values_;
};

void add_weights(const Model& model, const BlockWeights& weights, Vectors& vectors) {
  for (const ScaleSite& site : scale_sites(model.architecture())) {
    const MatrixF* gains = weights.find(std::string(site.norm));
    if (gains == nullptr) continue;
    const auto readers = static_cast<int64_t>(site.readers.size());
    for (const std::string_view reader : site.readers) {
      const MatrixF* w = weights.find(std::string(reader));
      if (w != nullptr) vectors.add_some(w->view(), kRows / readers, gains->data());
    }
  }
}

// One window through one block, with what its norms read on the way.
Status run_block(const BlockWeights& weights, int block, const std::vector<Tap>& taps,
                 StageRunner& runner, View2<float> residual, Vectors& vectors) {
  MatrixF in;
  for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
    if (stage == 0) vectors.add_some(residual, kTokens, nullptr);
    MatrixF out = stage < taps.size() ? MatrixF(residual.rows, taps[stage].width) : MatrixF();
    COLDPRESS_RETURN_IF_ERROR(
        runner.run(weights, block, static_cast<int>(stage), residual, in.view(), out.view()));
    if (stage == 2) vectors.add_some(residual, kTokens, nullptr);
    in = std::move(out);
  }
  return {};
}

}  // namespace

Result<MatrixF> sample_residual(const Model& model, const CalibrationWindows& windows,
                                ThreadPool& pool) {
  const int64_t count = std::min(kWindows, windows.count());
  const int64_t hidden = model.config().hidden;
  MatrixF residual(count * windows.length, hidden);
  const auto rows = [&](int64_t w) {
    return residual.view().row_range(w * windows.length, windows.length);
  };
  std::vector<StageRunner> runners;
  for (int i = 0; i < pool.threads(); ++i) runners.emplace_back(model.config());
  {
    COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model));
    for (int64_t w = 0; w < count; ++w) {
      COLDPRESS_RETURN_IF_ERROR(runners.front().embed(head, windows.window(w), rows(w)));
    }
  }
  Vectors all(hidden);
  for (int block = 0; block < model.config().blocks; ++block) {
    COLDPRESS_ASSIGN_OR_RETURN(const BlockWeights weights, BlockWeights::load(model, block));
    add_weights(model, weights, all);
    const std::vector<Tap> taps = model.taps(block);
    std::vector<Vectors> found(static_cast<std::size_t>(count), Vectors(hidden));
    std::vector<Status> done(static_cast<std::size_t>(count));
    pool.for_each(count, [&](int64_t w, int worker) {
      done[static_cast<std::size_t>(w)] =
          run_block(weights, block, taps, runners[static_cast<std::size_t>(worker)], rows(w),
                    found[static_cast<std::size_t>(w)]);
    });
    for (const Status& status : done) COLDPRESS_RETURN_IF_ERROR(status);
    for (const Vectors& v : found) all.append(v);
  }
  return all.matrix();
}

}  // namespace coldpress
