// One block, every tap, against naive double-precision code: windows longer than one chunk of
// queries, full and sliding attention, grouped heads, head norms, both activations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "model/model.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

class Oracle {
 public:
  Oracle(const ModelConfig& config, const BlockWeights& weights, int block)
      : config_(config), weights_(weights), block_(static_cast<std::size_t>(block)) {}

  MatrixD linear(const MatrixD& x, const std::string& role) const {
    const MatrixF& w = *weights_.find(role);
    const MatrixF* bias = weights_.find(role + "_bias");
    MatrixD y(x.rows(), w.rows());
    for (int64_t t = 0; t < x.rows(); ++t) {
      for (int64_t i = 0; i < w.rows(); ++i) {
        double sum = bias == nullptr ? 0.0 : (*bias)(0, i);
        for (int64_t j = 0; j < w.cols(); ++j) sum += x(t, j) * w(i, j);
        y(t, i) = sum;
      }
    }
    return y;
  }

  // Each run of gain's length is normed on its own.
  void norm(MatrixD& x, const std::string& role) const {
    const MatrixF* gain = weights_.find(role);
    if (gain == nullptr) return;
    const int64_t n = gain->cols();
    for (int64_t start = 0; start < x.size(); start += n) {
      double* v = x.data() + start;
      double squares = 0;
      for (int64_t i = 0; i < n; ++i) squares += v[i] * v[i];
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + config_.norm_eps);
      for (int64_t i = 0; i < n; ++i) v[i] *= scale * (*gain)(0, i);
    }
  }

  void rotate(MatrixD& x) const {
    const RopeConfig& rope = config_.rope.size() == 1 ? config_.rope[0] : config_.rope[block_];
    const int64_t dim = rope.dims;
    for (int64_t t = 0; t < x.rows(); ++t) {
      for (int64_t head = 0; head < x.cols(); head += config_.head_dim) {
        for (int64_t p = 0; p < dim / 2; ++p) {
          double angle = static_cast<double>(t) * std::pow(rope.theta, -2.0 * p / dim);
          if (!rope.factors.empty()) angle /= rope.factors[static_cast<std::size_t>(p)];
          double& a = x(t, head + (rope.interleaved ? 2 * p : p));
          double& b = x(t, head + (rope.interleaved ? 2 * p + 1 : p + dim / 2));
          const double c = std::cos(angle);
          const double s = std::sin(angle);
          std::tie(a, b) = std::pair(a * c - b * s, a * s + b * c);
        }
      }
    }
  }

  MatrixD attention(const MatrixD& x) const {
    MatrixD q = linear(x, "attn_q");
    MatrixD k = linear(x, "attn_k");
    const MatrixD v = linear(x, "attn_v");
    norm(q, "attn_q_norm");
    norm(k, "attn_k_norm");
    rotate(q);
    rotate(k);
    const int64_t dim = config_.head_dim;
    const int64_t window = config_.sliding_window.empty() ? 0 : config_.sliding_window[block_];
    MatrixD y(x.rows(), q.cols());
    for (int64_t head = 0; head < config_.heads; ++head) {
      const int64_t kv = head / (config_.heads / config_.kv_heads) * dim;
      for (int64_t t = 0; t < x.rows(); ++t) {
        const int64_t first = window > 0 ? std::max<int64_t>(0, t - window + 1) : 0;
        std::vector<double> p;
        double largest = -INFINITY;
        for (int64_t s = first; s <= t; ++s) {
          double dot = 0;
          for (int64_t i = 0; i < dim; ++i) dot += q(t, head * dim + i) * k(s, kv + i);
          p.push_back(dot * config_.attention_scale);
          if (config_.attention_softcap > 0) {
            p.back() = config_.attention_softcap * std::tanh(p.back() / config_.attention_softcap);
          }
          largest = std::max(largest, p.back());
        }
        double total = 0;
        for (double& value : p) total += value = std::exp(value - largest);
        for (int64_t s = first; s <= t; ++s) {
          const double weight = p[static_cast<std::size_t>(s - first)] / total;
          for (int64_t i = 0; i < dim; ++i) y(t, head * dim + i) += weight * v(s, kv + i);
        }
      }
    }
    return y;
  }

  MatrixD feed_forward(const MatrixD& x) const {
    MatrixD gate = linear(x, "ffn_gate");
    const MatrixD up = linear(x, "ffn_up");
    for (int64_t i = 0; i < gate.size(); ++i) {
      const double g = gate.data()[i];
      double a = 0;
      switch (config_.activation) {
        case Activation::kSilu:
          a = g / (1.0 + std::exp(-g));
          break;
        case Activation::kRelu:
          a = std::max(g, 0.0);
          break;
        case Activation::kGelu:
          a = 0.5 * g * (1.0 + std::erf(g / std::sqrt(2.0)));
          break;
        case Activation::kGeluTanh:
          a = 0.5 * g * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (g + 0.044715 * g * g * g)));
          break;
      }
      gate.data()[i] = a * up.data()[i];
    }
    return gate;
  }

  void add(MatrixD& residual, MatrixD y, const std::string& post_norm) const {
    norm(y, post_norm);
    for (int64_t i = 0; i < y.size(); ++i) residual.data()[i] += y.data()[i];
  }

 private:
  const ModelConfig& config_;
  const BlockWeights& weights_;
  std::size_t block_;
};

MatrixD widened(const MatrixF& m) {
  MatrixD d(m.rows(), m.cols());
  for (int64_t i = 0; i < m.size(); ++i) d.data()[i] = m.data()[i];
  return d;
}

// fp32 sums of up to 300 terms after angles of up to 300 radians in fp32: a few times 1e-5 of the
// largest value.
void expect_close(const MatrixF& got, const MatrixD& expected, const char* what) {
  double worst = 0;
  double largest = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::abs(got.data()[i] - expected.data()[i]));
    largest = std::max(largest, std::abs(expected.data()[i]));
  }
  EXPECT_LE(worst, 5e-5 * largest) << what;
}

struct Case {
  const char* family;
  int block;
  double softcap;
  Activation activation;
};

class BlockOracle : public ::testing::TestWithParam<Case> {};

TEST_P(BlockOracle, EveryTap) {
  const fs::path folder = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam().family;
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
  const auto model = Model::open(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  ModelConfig config = (*model)->config();
  config.attention_softcap = GetParam().softcap;
  config.activation = GetParam().activation;
  const int block = GetParam().block;
  const auto weights = BlockWeights::load(**model, block);
  ASSERT_TRUE(weights.ok());

  constexpr int64_t kTokens = 300;
  MatrixF residual(kTokens, config.hidden);
  Rng rng(7);
  for (int64_t i = 0; i < residual.size(); ++i) {
    residual.data()[i] = static_cast<float>(rng.normal());
  }
  MatrixD expected_residual = widened(residual);
  const Oracle oracle(config, *weights, block);
  StageRunner runner(config);
  MatrixF in;
  MatrixD expected_in;
  const std::vector<Tap> taps = (*model)->taps(block);
  for (int stage = 0; stage <= 4; ++stage) {
    MatrixF out;
    MatrixD expected;
    if (stage < 4) out = MatrixF(kTokens, taps[static_cast<std::size_t>(stage)].width);
    const Status ran = runner.run(*weights, block, stage, residual.view(), in.view(), out.view());
    ASSERT_TRUE(ran.ok()) << ran.message();
    switch (stage) {
      case 0:
        expected = expected_residual.clone();
        oracle.norm(expected, "attn_norm");
        break;
      case 1:
        expected = oracle.attention(expected_in);
        break;
      case 2:
        oracle.add(expected_residual, oracle.linear(expected_in, "attn_o"), "attn_post_norm");
        expected = expected_residual.clone();
        oracle.norm(expected, "ffn_norm");
        break;
      case 3:
        expected = oracle.feed_forward(expected_in);
        break;
      case 4:
        oracle.add(expected_residual, oracle.linear(expected_in, "ffn_down"), "ffn_post_norm");
        break;
    }
    if (stage < 4) expect_close(out, expected, taps[static_cast<std::size_t>(stage)].name.c_str());
    in = std::move(out);
    expected_in = std::move(expected);
  }
  expect_close(residual, expected_residual, "residual");
}

INSTANTIATE_TEST_SUITE_P(Families, BlockOracle,
                         ::testing::Values(Case{"llama", 1, 0.0, Activation::kSilu},
                                           Case{"llama3-rope", 0, 0.0, Activation::kGelu},
                                           Case{"mistral-window", 2, 0.0, Activation::kSilu},
                                           Case{"qwen2", 0, 0.0, Activation::kSilu},
                                           Case{"qwen3", 1, 2.0, Activation::kSilu},
                                           Case{"gemma3", 0, 0.0, Activation::kGeluTanh},
                                           Case{"gemma3", 1, 5.0, Activation::kGeluTanh},
                                           Case{"gemma3", 2, 5.0, Activation::kGeluTanh}));

}  // namespace
}  // namespace coldpress
