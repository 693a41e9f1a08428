// Solves the linears of one tap and puts the values that the output will hold in their place.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "calibration/gram_source.h"
#include "grid/table.h"
#include "pipeline/driver.h"
#include "pipeline/propagation.h"
#include "solver/table.h"
#include "transform/table.h"

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
  const DriverHooks& hooks;
  ThreadPool& pool;
  RunReport report;
  int64_t linears = 0;
  int blocks = 0;
  double residual_scale = 1;
  std::map<std::string, const PlannedTensor*> planned;    // of the plan, by name
  std::map<std::string, Matrix<std::byte>> stacked = {};  // packed rows of experts that are solved
  // Transforms that change each linear before it is solved.
  std::vector<std::pair<const TransformKind*, TransformStep>> reshaping = {};
};

// A linear to solve, and what it is solved against.
struct Job {
  const LinearRef* linear;
  const PlannedTensor* planned;
  GridFit fit;
  TapHessian* hessian;
  View2<float> w;  // (out, in), replaced by the values that the output will hold
  int64_t tokens = 0;
  std::string policy = {};             // of experts
  const TargetShift* shift = nullptr;  // of what is asked of the linear; none: its own weights
};

struct TapPlace {
  int block;  // -1: outside the blocks
  std::string tap;
};

// Nothing if the plan leaves the linear as it is.
std::optional<Job> make_job(Run& run, const LinearRef& linear, TapHessian* hessian, View2<float> w);

// What the linears of a tap are solved against.
struct TapProblem {
  TargetShift shift;  // what the tap's drift asks of them
  TapHessian hessian;
  int64_t tokens = 0;
};
// The sums, which are large, are gone when it returns. `name`: of the tap, in errors.
// `residual_scale`: of what its linears give, in the residual stream.
Result<TapProblem> tap_problem(Run& run, const std::string& name, TapSums sums,
                               double residual_scale);

// Solves the jobs together, by `method`, and hands each result on.
Status press(Run& run, const SolverMethod& method, const TapPlace& place,
             const std::vector<Job>& jobs);

// `sums`: of `tap`, as the last stage of `grams` returned it. Experts get Grams of their own from
// there, or a stated share of the pooled one (hessian/shrinkage.h).
Status press_tap(Run& run, int block, const Tap& tap, TapSums sums, GramSource& grams,
                 BlockWeights& weights);

}  // namespace coldpress
