// Solves the linears of one tap and puts the values that the output will hold in their place.
#pragma once

#include <chrono>
#include <cstdint>

#include "calibration/streamer.h"
#include "grid/table.h"
#include "pipeline/driver.h"
#include "solver/table.h"

namespace coldpress {

// Adds the seconds of its scope to `into`.
class Stopwatch {
 public:
  explicit Stopwatch(double* into) : into_(into), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    *into_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double* into_;
  std::chrono::steady_clock::time_point start_;
};

// Everything one run carries from tap to tap.
struct Run {
  const Plan& plan;
  const SolverMethod& method;
  const GridKind& kind;
  const DriverHooks& hooks;
  ThreadPool& pool;
  RunReport report;
  int64_t linears = 0;
  int blocks = 0;
};

// `gram`: of `tap`, as the streamer's last stage returned it. Experts get Grams of their own from
// the streamer, or a stated share of the pooled one (hessian/shrinkage.h).
Status press_tap(Run& run, int block, const Tap& tap, const Gram& gram,
                 CalibrationStreamer& streamer, BlockWeights& weights);

}  // namespace coldpress
