// Solves the linears of one tap and puts the values that the output will hold in their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "calibration/gram_source.h"
#include "distributed/comm.h"
#include "grid/table.h"
#include "pipeline/driver.h"
#include "pipeline/propagation.h"
#include "pipeline/run_journal.h"
#include "solver/table.h"
#include "transform/table.h"

namespace coldpress {

// Adds the seconds of its scope to `into`.
class Stopwatch {
 public:
  explicit Stopwatch(double* into) : into_(into), start_(seconds_now()) {}
  ~Stopwatch() { *into_ += seconds_now() - start_; }

 private:
  double* into_;
  double start_;
};

// Everything one run carries from tap to tap. With several ranks each carries all of it: a linear
// is solved by its owner, which sends the result to the others.
struct Run {
  const Model& model;
  const Plan& plan;
  const SolverMethod& method;
  const DriverHooks& hooks;
  ThreadPool& pool;
  Comm& comm;
  RunReport report;
  int64_t linears = 0;
  int blocks = 0;
  double residual_scale = 1;
  std::map<std::string, const PlannedTensor*> planned;    // of the plan, by name
  std::map<std::string, Matrix<std::byte>> stacked = {};  // packed rows of experts that are solved
  // Transforms that change each linear before it is solved.
  std::vector<std::pair<const TransformKind*, TransformStep>> reshaping = {};
  RunJournal* journal = nullptr;  // what is solved, now and by earlier processes; may be null, and
                                  // is but in rank 0
  KnownWork known = {};           // by earlier processes; the same in every rank
  int first_block = 0;            // blocks before it do not run: what they give is known
};

// A linear to solve, and what it is solved against.
struct Job {
  const LinearRef* linear;
  const PlannedTensor* planned;
  GridFit fit;
  TapHessian* hessian;  // null where the solution is known
  View2<float> w;       // (out, in), replaced by the values that the output will hold
  int64_t tokens = 0;
  std::string policy = {};             // of experts
  const TargetShift* shift = nullptr;  // of what is asked of the linear; none: its own weights
  int owner = kEveryRank;              // the rank that solves it; only there the rest is filled in
};

struct TapPlace {
  int block;  // -1: outside the blocks
  std::string tap;
};

// Whether all that the plan asks for of the tap's linears is known.
bool is_solved(const Run& run, const Tap& tap);
bool is_solved(const Run& run, const LinearRef& linear);

// Nothing if the plan leaves the linear as it is.
std::optional<Job> make_job(Run& run, const LinearRef& linear, TapHessian* hessian, View2<float> w);

// What the linears of a tap are solved against.
struct TapProblem {
  TargetShift shift;  // what the tap's drift asks of them
  std::optional<TapHessian> hessian;
};

// Chooses who solves the jobs, all of one tap that is not of experts, and poses those of this rank
// that are not known against `problem`. `sums`: as `grams` gave them; they are large, and gone when
// it returns; unless all jobs are known. `residual_scale`: of what its linears give, in the
// residual stream.
Status pose_tap(Run& run, const TapPlace& place, TapSums sums, double residual_scale,
                const GramSource& grams, std::vector<Job>* jobs, TapProblem* problem);

// Solves the jobs of this rank by `method`, those `side_by_side` together, and hands each result
// on, those of other ranks too, in the order of the jobs. What is known comes from rank 0's
// journal instead, which gets the rest.
Status press(Run& run, const SolverMethod& method, const TapPlace& place,
             const std::vector<Job>& jobs, bool side_by_side = false);

// `sums`: of `tap`, as the last stage of `grams` returned it. Experts get Grams of their own from
// there, or a stated share of the pooled one (hessian/shrinkage.h).
Status press_tap(Run& run, int block, const Tap& tap, TapSums sums, GramSource& grams,
                 BlockWeights& weights);

}  // namespace coldpress
