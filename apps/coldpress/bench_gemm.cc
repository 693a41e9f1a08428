// coldpress bench gemm: the machine's SGEMM rate, the yardstick of every speed claim, and the rate
// of the product that solvers are made of.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "bench.h"
#include "io/json.h"
#include "linalg/bf16.h"
#include "linalg/blas.h"
#include "terminal.h"

namespace coldpress::cli {

double measure_gemm_rate(ThreadPool& pool) {
  constexpr int64_t kSize = 1024;
  constexpr int64_t kTasks = 16;
  std::vector<MatrixF> a;
  std::vector<MatrixF> c;
  for (int t = 0; t < pool.threads(); ++t) {
    a.emplace_back(kSize, kSize);
    c.emplace_back(kSize, kSize);
  }
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const double start = seconds_now();
    pool.for_each(kTasks, [&](int64_t, int worker) {
      const auto at = static_cast<std::size_t>(worker);
      gemm(Trans::kNo, Trans::kNo, 1.0F, a[at].view(), a[at].view(), 0.0F, c[at].view());
    });
    best = std::max(best, 2e-9 * kTasks * kSize * kSize * kSize / (seconds_now() - start));
  }
  return best;
}

namespace {

struct Options {
  bool json = false;
  int threads = 0;  // 0: all cores
};

constexpr int64_t kLanes = 192;  // rows of W in a strip

// GFLOP/s of (n x n)(n x kLanes), a product per thread with n x n shared: a sweep, or, `in_bf16`,
// an iteration of ADMM.
double measure_strip_rate(int64_t n, bool in_bf16, ThreadPool& pool) {
  const MatrixF h(n, n);
  const Bf16Left left(h.clone());
  std::vector<MatrixF> in;
  std::vector<MatrixF> out;
  std::vector<Bf16Scratch> scratch(static_cast<std::size_t>(pool.threads()));
  for (int t = 0; t < pool.threads(); ++t) {
    in.emplace_back(n, kLanes);
    out.emplace_back(n, kLanes);
  }
  const int64_t tasks = 8 * pool.threads();
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const double start = seconds_now();
    pool.for_each(tasks, [&](int64_t, int worker) {
      const auto at = static_cast<std::size_t>(worker);
      if (in_bf16) {
        left.multiply(in[at].view(), out[at].view(), &scratch[at]);
      } else {
        gemm(Trans::kNo, Trans::kNo, 1.0F, h.view(), in[at].view(), 0.0F, out[at].view());
      }
    });
    const auto flops = static_cast<double>(2 * tasks * n * n * kLanes);
    best = std::max(best, 1e-9 * flops / (seconds_now() - start));
  }
  return best;
}

Status run_gemm(const Options& o) {
  ThreadPool pool(thread_count(o.threads));
  const double rate = measure_gemm_rate(pool);
  Json report = {{"threads", pool.threads()},
                 {"kernels", blas_kernels()},
                 {"gemm_gflops", rate},
                 {"solver_products", Json::array()}};
  std::string text = fmt::format("SGEMM, {} threads, OpenBLAS kernels for {}: {:.1f} GFLOP/s\n",
                                 pool.threads(), blas_kernels(), rate);
  for (const bool in_bf16 : {false, true}) {
    if (in_bf16 && !has_bf16_products()) continue;
    const char* type = in_bf16 ? "bf16" : "fp32";
    for (const int64_t n : {576, 1536, 4096}) {
      const double strips = measure_strip_rate(n, in_bf16, pool);
      report["solver_products"].push_back({{"n", n},
                                           {"lanes", kLanes},
                                           {"type", type},
                                           {"gflops", strips},
                                           {"share_of_gemm_rate", strips / rate}});
      text += fmt::format("solver product in {}, {} columns x {} rows: {:.1f} GFLOP/s, {:.0f} %\n",
                          type, n, kLanes, strips, 100 * strips / rate);
    }
  }
  std::cout << (o.json ? report.dump() + "\n" : text);
  return {};
}

}  // namespace

void add_bench_gemm(CLI::App& bench, Run& run) {
  CLI::App* verb =
      bench.add_subcommand("gemm", "This machine's SGEMM rate, and that of the solvers' products");
  auto options = std::make_shared<Options>();
  verb->add_option("--threads", options->threads, "threads (default: all cores)");
  verb->add_flag("--json", options->json, "print JSON");
  verb->callback([options, &run] { run = [options] { return run_gemm(*options); }; });
}

}  // namespace coldpress::cli
