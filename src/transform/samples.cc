#include "transform/samples.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "linalg/blas.h"
#include "model/sites.h"

namespace coldpress {
namespace {

constexpr int64_t kWindows = 8;
// Of the residual stream, at most: fewer fit the rotation to themselves (docs/pipelines.md).
constexpr int64_t kResiduals = int64_t{1} << 15;
constexpr int64_t kRows = 48;          // of the matrices that read a norm, in each block
constexpr int64_t kValueTokens = 128;  // of a window, in each block
constexpr int64_t kValueRows = 128;    // of attn_o, where it reads a head

// Rows that are not zero, one after the other.
class Vectors {
 public:
  explicit Vectors(int64_t n) : n_(n) {}
  void reserve(int64_t rows) { values_.reserve(static_cast<std::size_t>(rows * n_)); }
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

// The values of some tokens, given what the projections of all tokens read.
void add_values(const ModelConfig& c, const BlockWeights& weights, View2<const float> attn_in,
                std::vector<Vectors>& values) {
  const bool is_fused = weights.find("attn_qkv") != nullptr;
  const std::string role = is_fused ? "attn_qkv" : "attn_v";
  const MatrixF* bias = weights.find(role + "_bias");
  const HeadRows rows = value_head_rows(c, is_fused);
  int64_t first = rows.first;
  MatrixF v(attn_in.rows, c.head_dim);
  for (Vectors& head : values) {
    gemm(Trans::kNo, Trans::kYes, 1.0F, attn_in, weights.linear(role).row_range(first, c.head_dim),
         0.0F, v.view());
    for (int64_t i = 0; bias != nullptr && i < v.size(); ++i) {
      v.data()[i] += bias->data()[first + i % c.head_dim];
    }
    head.add_some(v.view(), kValueTokens, nullptr);
    first += rows.apart;
  }
}

// Of the output projection, what meets each value head.
void add_value_readers(const ModelConfig& c, const BlockWeights& weights,
                       std::vector<Vectors>& values) {
  const MatrixF& o = *weights.find("attn_o");
  for (int64_t q = 0; q < c.heads; ++q) {
    values[static_cast<std::size_t>(q / (c.heads / c.kv_heads))].add_some(
        o.view().block(0, q * c.head_dim, o.rows(), c.head_dim), kValueRows, nullptr);
  }
}

// What one window, or one block's weights, has to show.
struct Found {
  explicit Found(const ModelConfig& c)
      : residual(c.hidden), values(static_cast<std::size_t>(c.kv_heads), Vectors(c.head_dim)) {}
  Vectors residual;
  std::vector<Vectors> values;
};

// One window through one block, with what its norms read on the way (of `tokens` tokens), and
// attention.
Status run_block(const ModelConfig& config, const BlockWeights& weights, int block,
                 const std::vector<Tap>& taps, int64_t tokens, StageRunner& runner,
                 View2<float> residual, Found& found) {
  MatrixF in;
  for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
    if (stage == 0) found.residual.add_some(residual, tokens, nullptr);
    MatrixF out = stage < taps.size() ? MatrixF(residual.rows, taps[stage].width) : MatrixF();
    COLDPRESS_RETURN_IF_ERROR(
        runner.run(weights, block, static_cast<int>(stage), residual, in.view(), out.view()));
    if (stage == 0) add_values(config, weights, out.view(), found.values);
    if (stage == 2) found.residual.add_some(residual, tokens, nullptr);
    in = std::move(out);
  }
  return {};
}

int64_t tokens_at_norm(const ModelConfig& config, int64_t windows, int64_t length) {
  const int64_t norms = 2 * config.blocks * windows;
  return std::max<int64_t>(1, std::min(length, norms == 0 ? 0 : kResiduals / norms));
}

// Vectors of the residual stream, and rows.
int64_t most_residuals(const ModelConfig& config, int64_t windows, int64_t tokens) {
  return 2 * config.blocks * (windows * tokens + kRows);
}

}  // namespace

SampleBytes sample_bytes(const ModelConfig& config, int64_t windows, int64_t length) {
  const int64_t count = std::min(kWindows, windows);
  const int64_t vectors =
      config.hidden * most_residuals(config, count, tokens_at_norm(config, count, length));
  const int64_t values = config.blocks * config.head_dim *
                         (config.kv_heads * count * kValueTokens + config.heads * kValueRows);
  const int64_t kept = vectors + values + count * length * config.hidden;
  const int64_t squares = 6 * config.hidden * config.hidden;  // the rotation, its gradient, a step
  const auto size = static_cast<int64_t>(sizeof(float));
  return {size * kept, size * (kept + vectors + squares)};
}

Result<Samples> sample_model(const Model& model, const CalibrationWindows& windows,
                             ThreadPool& pool) {
  const ModelConfig& config = model.config();
  const int64_t count = std::min(kWindows, windows.count());
  MatrixF residual(count * windows.length, config.hidden);
  const auto rows = [&](int64_t w) {
    return residual.view().row_range(w * windows.length, windows.length);
  };
  std::vector<StageRunner> runners;
  for (int i = 0; i < pool.threads(); ++i) runners.emplace_back(config);
  {
    COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model));
    for (int64_t w = 0; w < count; ++w) {
      COLDPRESS_RETURN_IF_ERROR(runners.front().embed(head, windows.window(w), rows(w)));
    }
  }
  const int64_t tokens = tokens_at_norm(config, count, windows.length);
  Vectors all(config.hidden);
  all.reserve(most_residuals(config, count, tokens));
  Samples samples;
  for (int block = 0; block < config.blocks; ++block) {
    COLDPRESS_ASSIGN_OR_RETURN(const BlockWeights weights, BlockWeights::load(model, block));
    add_weights(model, weights, all);
    Found of_block(config);
    add_value_readers(config, weights, of_block.values);
    const std::vector<Tap> taps = model.taps(block);
    std::vector<Found> found(static_cast<std::size_t>(count), Found(config));
    std::vector<Status> done(static_cast<std::size_t>(count));
    pool.for_each(count, [&](int64_t w, int worker) {
      done[static_cast<std::size_t>(w)] =
          run_block(config, weights, block, taps, tokens, runners[static_cast<std::size_t>(worker)],
                    rows(w), found[static_cast<std::size_t>(w)]);
    });
    for (const Status& status : done) COLDPRESS_RETURN_IF_ERROR(status);
    std::vector<MatrixF>& values = samples.values.emplace_back();
    for (const Found& f : found) {
      all.append(f.residual);
      for (std::size_t h = 0; h < f.values.size(); ++h) of_block.values[h].append(f.values[h]);
    }
    for (const Vectors& head : of_block.values) values.push_back(head.matrix());
  }
  samples.residual = all.matrix();
  return samples;
}

}  // namespace coldpress
