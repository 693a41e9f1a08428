// coldpress bench gemm: the machine's SGEMM rate, the yardstick of every speed claim.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "bench.h"
#include "io/json.h"
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
    const auto start = std::chrono::steady_clock::now();
    pool.for_each(kTasks, [&](int64_t, int worker) {
      const auto at = static_cast<std::size_t>(worker);
      gemm(Trans::kNo, Trans::kNo, 1.0F, a[at].view(), a[at].view(), 0.0F, c[at].view());
    });
    best = std::max(best, 2e-9 * kTasks * kSize * kSize * kSize / seconds_since(start));
  }
  return best;
}

namespace {

struct Options {
  bool json = false;
  int threads = 0;  // 0: all cores
};

Status run_gemm(const Options& o) {
  ThreadPool pool(thread_count(o.threads));
  const double rate = measure_gemm_rate(pool);
  if (o.json) {
    std::cout << Json{{"threads", pool.threads()}, {"gemm_gflops", rate}}.dump() << "\n";
  } else {
    std::cout << fmt::format("SGEMM, {} threads: {:.1f} GFLOP/s\n", pool.threads(), rate);
  }
  return {};
}

}  // namespace

void add_bench_gemm(CLI::App& bench, Run& run) {
  CLI::App* verb = bench.add_subcommand("gemm", "This machine's SGEMM rate, all threads");
  auto options = std::make_shared<Options>();
  verb->add_option("--threads", options->threads, "threads (default: all cores)");
  verb->add_flag("--json", options->json, "print JSON");
  verb->callback([options, &run] { run = [options] { return run_gemm(*options); }; });
}

}  // namespace coldpress::cli
