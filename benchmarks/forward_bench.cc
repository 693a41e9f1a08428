// Speed of the forward pass, one thread: each stage of one block and the head, beside the rate of
// SGEMM measured in the same run. Usage: forward_bench MODEL [REPEATS]
//
// Counted operations: the linears, and the causal half of the attention products. The rate of a
// stage is its best of REPEATS.
#include <cblas.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "model/model.h"

namespace coldpress {
namespace {

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double best_seconds(int repeats, const std::function<void()>& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) best = std::min(best, seconds(work));
  return best;
}

void check(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "forward_bench: {}\n", status.message());
  std::exit(1);
}

MatrixF random_matrix(int64_t rows, int64_t cols) {
  MatrixF m(rows, cols);
  Rng rng(1);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(rng.normal());
  return m;
}

// GFLOP/s of tokens x width times width x width, single-threaded, where BLAS does best.
double sgemm_rate(int64_t tokens, int repeats) {
  constexpr int kWidth = 1536;
  openblas_set_num_threads(1);
  const MatrixF a = random_matrix(tokens, kWidth);
  const MatrixF b = random_matrix(kWidth, kWidth);
  MatrixF c(tokens, kWidth);
  const double s = best_seconds(repeats, [&] {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(tokens), kWidth, kWidth,
                1.0F, a.data(), kWidth, b.data(), kWidth, 0.0F, c.data(), kWidth);
  });
  return 2e-9 * static_cast<double>(tokens) * kWidth * kWidth / s;
}

std::vector<double> stage_operations(const ModelConfig& config, int64_t tokens) {
  const auto t = static_cast<double>(tokens);
  const auto hidden = static_cast<double>(config.hidden);
  const auto q = static_cast<double>(config.heads * config.head_dim);
  const auto kv = static_cast<double>(config.kv_heads * config.head_dim);
  const auto ffn = static_cast<double>(config.ffn);
  return {0.0, 2 * t * hidden * (q + 2 * kv) + 2 * q * t * (t + 1), 2 * t * q * hidden,
          4 * t * hidden * ffn, 2 * t * hidden * ffn};
}

void row(const char* what, double s, double operations, double rate) {
  fmt::print("  {:<34} {:9.3f} ms {:8.1f} GFLOP/s {:5.0f} %\n", what, 1e3 * s,
             1e-9 * operations / s, 100e-9 * operations / s / rate);
}

void bench_window(const Model& model, const BlockWeights& weights, const HeadWeights& head,
                  int64_t tokens, int repeats) {
  constexpr const char* kNames[] = {"0 norm", "1 q, k, v, attention", "2 o, norm",
                                    "3 gate, up, activation", "4 down"};
  const ModelConfig& config = model.config();
  const std::vector<Tap> taps = model.taps(0);
  const double rate = sgemm_rate(tokens, repeats);
  fmt::print("{} tokens; sgemm {:.1f} GFLOP/s\n", tokens, rate);

  StageRunner runner(config);
  const MatrixF start = random_matrix(tokens, config.hidden);
  std::vector<MatrixF> inputs(1);
  for (const Tap& tap : taps) inputs.emplace_back(tokens, tap.width);
  inputs.emplace_back();
  MatrixF residual(tokens, config.hidden);
  std::vector<double> best(5, std::numeric_limits<double>::infinity());
  for (int i = 0; i < repeats; ++i) {
    std::copy_n(start.data(), start.size(), residual.data());
    for (int stage = 0; stage < 5; ++stage) {
      const auto s = static_cast<std::size_t>(stage);
      best[s] = std::min(best[s], seconds([&] {
                           check(runner.run(weights, 0, stage, residual.view(), inputs[s].view(),
                                            inputs[s + 1].view()));
                         }));
    }
  }
  const std::vector<double> operations = stage_operations(config, tokens);
  double all_seconds = 0;
  double all_operations = 0;
  for (std::size_t s = 0; s < best.size(); ++s) {
    row(kNames[s], best[s], operations[s], rate);
    all_seconds += best[s];
    all_operations += operations[s];
  }
  row("block", all_seconds, all_operations, rate);

  MatrixF logits(tokens, config.vocab);
  const double s =
      best_seconds(2, [&] { check(runner.logits(head, residual.view(), logits.view())); });
  row("logits", s, 2.0 * static_cast<double>(tokens * config.hidden * config.vocab), rate);
}

int run(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: forward_bench MODEL [REPEATS]\n");
    return 2;
  }
  const int repeats = argc > 2 ? std::max(1, std::atoi(argv[2])) : 10;
  auto model = Model::open(argv[1]);
  check(model.status());
  auto weights = BlockWeights::load(**model, 0);
  check(weights.status());
  auto head = HeadWeights::load(**model);
  check(head.status());
  for (const int64_t tokens : {512, 2048}) bench_window(**model, *weights, *head, tokens, repeats);
  return 0;
}

}  // namespace
}  // namespace coldpress

int main(int argc, char** argv) { return coldpress::run(argc, argv); }
